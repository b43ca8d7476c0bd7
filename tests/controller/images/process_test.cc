// Several threads and processes at one cache, and processes that die.
#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <thread>

#include "tests/controller/images/world.h"
#include "tests/eventually.h"

namespace rum {
namespace {

// A process that fetches, and holds what it got until it is killed.
class Fetching {
 public:
  Fetching(const std::string& folder, const std::string& url, bool full_disk = false) {
    int in[2], out[2];
    if (pipe2(in, O_CLOEXEC) != 0 || pipe2(out, O_CLOEXEC) != 0) abort();
    pid_ = fork();
    if (pid_ < 0) abort();
    if (pid_ == 0) {
      dup2(in[0], STDIN_FILENO);
      dup2(out[1], STDOUT_FILENO);
      execl(RUM_FETCH, RUM_FETCH, folder.c_str(), url.c_str(), full_disk ? "FULL" : nullptr,
            nullptr);
      _exit(127);
    }
    close(in[0]);
    close(out[1]);
    in_ = in[1];
    out_ = fdopen(out[0], "r");
  }
  ~Fetching() {
    Kill();
    fclose(out_);
  }
  std::string Line() {
    std::string line;
    for (int c = 0; (c = fgetc(out_)) != EOF && c != '\n';) line += static_cast<char>(c);
    return line;
  }
  void Kill() {
    // Never of -1, which is everybody.
    if (pid_ <= 0) return;
    kill(pid_, SIGKILL);
    waitpid(pid_, nullptr, 0);
    pid_ = -1;
    close(in_);
  }

 private:
  pid_t pid_ = -1;
  int in_ = -1;
  FILE* out_ = nullptr;
};

class AtOnce : public CacheWorld {
 protected:
  const std::string image_ = Qcow2(100000);
  Served Stalling() const {
    Served served{.body = image_, .etag = "\"1\""};
    served.stall_after = 40000;
    return served;
  }
};

TEST_F(AtOnce, TwoThreadsMakeOneDownload) {
  HttpServer server([&](const Asked&, int) { return Stalling(); });
  absl::StatusOr<FetchedImage> first, second;
  std::thread one([&] { first = cache_.Fetch({server.Url("/a"), "", ""}, nullptr); });
  ASSERT_TRUE(Eventually([&] { return server.sent() == 40000; }));
  std::vector<std::string> said;
  std::thread two([&] {
    second = cache_.Fetch({server.Url("/a"), "", ""}, [&](const std::string& text) {
      said.push_back(text);
      server.EndStalls();
    });
  });
  one.join();
  two.join();
  ASSERT_TRUE(first.ok() && second.ok()) << first.status() << second.status();
  EXPECT_EQ(first->path, second->path);
  EXPECT_EQ(Bytes(second->path), image_);
  EXPECT_EQ(server.log().size(), 1u);
  EXPECT_EQ(said, std::vector<std::string>({"waiting for somebody else's download of a"}));
}

TEST_F(AtOnce, TwoProcessesMakeOneDownload) {
  HttpServer server([&](const Asked&, int) { return Stalling(); });
  Fetching one(cache_folder_, server.Url("/a"));
  ASSERT_TRUE(Eventually([&] { return server.sent() == 40000; }));
  Fetching two(cache_folder_, server.Url("/a"));
  EXPECT_EQ(two.Line(), "waiting for somebody else's download of a");
  server.EndStalls();
  const std::string first = one.Line(), second = two.Line();
  EXPECT_EQ(first, second);
  EXPECT_EQ(Bytes(second), image_);
  EXPECT_EQ(server.log().size(), 1u);
}

TEST_F(AtOnce, WhoGivesUpIsLetGoAndHisDownloadIsGoneOnWith) {
  HttpServer server([&](const Asked&, int number) {
    return number == 0 ? Stalling() : Served{.body = image_, .etag = "\"1\""};
  });
  std::atomic<bool> gave_up = false;
  const Onlooker onlooker(nullptr, [&] { return gave_up.load(); });
  absl::StatusOr<FetchedImage> first, second;
  std::thread one([&] { first = cache_.Fetch({server.Url("/a"), "", ""}, onlooker); });
  ASSERT_TRUE(Eventually([&] { return server.sent() == 40000; }));
  std::atomic<bool> waits = false;
  const Onlooker impatient([&](const std::string&) { waits = true; }, [&] { return waits.load(); });
  second = cache_.Fetch({server.Url("/a"), "", ""}, impatient);
  EXPECT_TRUE(absl::IsCancelled(second.status())) << second.status();
  gave_up = true;
  one.join();
  EXPECT_TRUE(absl::IsCancelled(first.status())) << first.status();
  const auto third = cache_.Fetch({server.Url("/a"), "", ""}, nullptr);
  ASSERT_TRUE(third.ok()) << third.status();
  EXPECT_EQ(Bytes(third->path), image_);
  EXPECT_EQ(server.log().back().header("range"), "bytes=40000-");
}

TEST_F(AtOnce, ManyThreadsMakeOneDownloadEach) {
  HttpServer server([&](const Asked&, int) { return Served{.body = image_, .etag = "\"1\""}; });
  std::vector<std::thread> threads;
  std::vector<absl::StatusOr<FetchedImage>> fetched(16);
  for (size_t i = 0; i < fetched.size(); ++i) {
    threads.emplace_back([&, i] {
      fetched[i] = cache_.Fetch({server.Url(i % 2 == 0 ? "/a" : "/b"), "", ""}, nullptr);
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (const auto& each : fetched) {
    ASSERT_TRUE(each.ok()) << each.status();
    EXPECT_EQ(Bytes(each->path), image_);
  }
  EXPECT_EQ(server.sent(), 2 * image_.size());
}

TEST_F(AtOnce, WhoDiesWhileDownloadingIsSucceededFromWhereItStood) {
  HttpServer server([&](const Asked&, int number) {
    return number == 0 ? Stalling() : Served{.body = image_, .etag = "\"1\""};
  });
  Fetching dying(cache_folder_, server.Url("/a"));
  ASSERT_TRUE(Eventually([&] {
    std::error_code error;
    return !PartPath().empty() && std::filesystem::file_size(PartPath(), error) == 40000;
  }));
  Fetching waiting(cache_folder_, server.Url("/a"));
  EXPECT_EQ(waiting.Line(), "waiting for somebody else's download of a");
  dying.Kill();
  EXPECT_EQ(Bytes(waiting.Line()), image_);
  ASSERT_EQ(server.log().size(), 2u);
  EXPECT_EQ(server.log()[1].header("range"), "bytes=40000-");
}

TEST_F(AtOnce, AnyMomentOfDeathLeavesACacheThatTheNextFetchCompletes) {
  for (int moment = 0; moment < 40; ++moment) {
    const std::string image = Qcow2(500000, static_cast<unsigned>(moment));
    HttpServer server([&](const Asked&, int) { return Served{.body = image, .etag = "\"1\""}; });
    const std::string url = server.Url("/a");
    {
      Fetching dying(cache_folder_, url);
      std::this_thread::sleep_for(std::chrono::microseconds(1000 * moment));
    }
    const auto fetched = Fetch(url);
    ASSERT_TRUE(fetched.ok()) << fetched.status();
    EXPECT_TRUE(Bytes(fetched->path) == image) << moment;
  }
  EXPECT_EQ(cache_.Prune(NothingInUse())->size(), 40u);
  EXPECT_TRUE(Files().empty());
}

TEST_F(AtOnce, WhatIsPrunedAllTheTimeIsNeverPrunedFromUnderItsHolder) {
  HttpServer server([&](const Asked&, int) { return Served{.body = image_, .etag = "\"1\""}; });
  std::atomic<bool> done = false;
  std::thread pruning([&] {
    while (!done) EXPECT_TRUE(cache_.Prune(NothingInUse()).ok());
  });
  std::vector<std::thread> fetching;
  for (int i = 0; i < 3; ++i) {
    fetching.emplace_back([&, i] {
      for (int round = 0; round < 40; ++round) {
        const auto fetched = cache_.Fetch({server.Url(i == 0 ? "/a" : "/b"), "", ""}, nullptr);
        ASSERT_TRUE(fetched.ok()) << fetched.status();
        ASSERT_TRUE(Bytes(fetched->path) == image_);
      }
    });
  }
  for (std::thread& thread : fetching) thread.join();
  done = true;
  pruning.join();
}

TEST_F(AtOnce, WhatAnotherProcessHoldsIsNotDeletedUntilItEnds) {
  HttpServer server([&](const Asked&, int) { return Served{.body = image_, .etag = "\"1\""}; });
  Fetching holder(cache_folder_, server.Url("/a"));
  const std::string path = holder.Line();
  ASSERT_EQ(List().size(), 1u);
  EXPECT_TRUE(List()[0].in_use);
  const std::string name = List()[0].name;
  EXPECT_TRUE(absl::IsFailedPrecondition(cache_.Delete(name, NothingInUse())));
  const auto pruned = cache_.Prune(NothingInUse());
  EXPECT_TRUE(pruned.ok() && pruned->empty());
  EXPECT_EQ(Bytes(path), image_);
  holder.Kill();
  EXPECT_FALSE(List()[0].in_use);
  EXPECT_TRUE(cache_.Delete(name, NothingInUse()).ok());
  EXPECT_FALSE(std::filesystem::exists(path));
}

TEST_F(AtOnce, ADownloadThatRunsIsNotPruned) {
  HttpServer server([&](const Asked&, int) { return Stalling(); });
  Fetching running(cache_folder_, server.Url("/a"));
  ASSERT_TRUE(Eventually([&] { return !List().empty() && server.sent() == 40000; }));
  EXPECT_TRUE(List()[0].in_use);
  EXPECT_FALSE(List()[0].whole);
  EXPECT_TRUE(absl::IsFailedPrecondition(cache_.Delete(List()[0].name, NothingInUse())));
  EXPECT_TRUE(cache_.Prune(NothingInUse())->empty());
  server.EndStalls();
  EXPECT_EQ(Bytes(running.Line()), image_);
}

TEST_F(AtOnce, AFullDiskIsNamedAsSuchWithItsPath) {
  HttpServer server([&](const Asked&, int) { return Served{.body = image_, .etag = "\"1\""}; });
  Fetching full(cache_folder_, server.Url("/a"), true);
  const std::string line = full.Line();
  EXPECT_EQ(line.rfind("RESOURCE_EXHAUSTED: " + cache_folder_, 0), 0u) << line;
}

}  // namespace
}  // namespace rum
