#include "tests/e2e/places.h"

#include <gtest/gtest.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "tests/eventually.h"

namespace rum::e2e {
namespace {

namespace fs = std::filesystem;

constexpr char kBootId[] = "cat /proc/sys/kernel/random/boot_id";

bool Contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

std::string ElsewhereOnTheHost() {
  std::string folder = "/dev/shm/rum-e2e-XXXXXX";
  EXPECT_NE(mkdtemp(folder.data()), nullptr) << folder;
  return folder;
}

}  // namespace

Places::Places(World* world, uint16_t port)
    : world_(world),
      port_(port),
      folder_(world->folder() + "/project"),
      file_(folder_ + "/rum.toml"),
      id_(world->Status().id()),
      uuid_(world->Virsh({"domuuid", world->DomainName()}).out),
      volumes_(Volumes()),
      boot_(world->Guest(kBootId)) {
  EXPECT_EQ(EchoThrough(port_, "hello"), "hello");
}

Result Places::RumAt(const std::string& file, const std::vector<std::string>& words) const {
  std::vector<std::string> argv = world_->Argv(words);
  argv[2] = file;
  return Said(argv);
}

Result Places::RumNamed(const std::vector<std::string>& words) const {
  std::vector<std::string> argv = world_->Argv(words);
  argv[1] = "-m", argv[2] = id_;
  return Said(argv);
}

Result Places::Said(const std::vector<std::string>& argv) const {
  Result result = Run(argv, world_->env());
  std::string line = "$ rum";
  for (size_t i = 1; i < argv.size(); ++i) line += " " + argv[i];
  std::fprintf(stderr, "%s\n%s%s(exit %d)\n", line.c_str(), result.out.c_str(), result.err.c_str(),
               result.exit_status);
  return result;
}

std::string Places::Volumes() const { return world_->Virsh({"vol-list", "rum"}).out; }

control::ListMachinesReply Places::List() const {
  const Result result = world_->Rum({"-o", "json", "list"});
  control::ListMachinesReply list;
  EXPECT_TRUE(ReadJson(result.out, &list)) << result.out << result.err;
  return list;
}

void Places::ExpectRunningAt(const std::string& file) const {
  const auto runs = [&] { return Contains(RumAt(file, {"status"}).out, "project  running"); };
  EXPECT_TRUE(Eventually(runs, std::chrono::seconds(60))) << file;
}

void Places::ExpectTheOne(const std::string& file, bool gone) const {
  const control::ListMachinesReply list = List();
  ASSERT_EQ(list.machines_size(), 1) << list.DebugString();
  EXPECT_EQ(list.machines(0).id(), id_);
  EXPECT_EQ(list.machines(0).config_path(), file);
  EXPECT_EQ(list.machines(0).file_gone(), gone);
  EXPECT_EQ(world_->Virsh({"list", "--all", "--uuid"}).out, uuid_);
  EXPECT_EQ(Volumes(), volumes_);
  const Result boot = RumNamed({"exec", "sh", "-c", kBootId});
  EXPECT_EQ(boot.out, boot_ + "\n") << boot.err;
  // A controller that has just come asks the agent and opens its ports a moment later.
  const auto runs = [&] { return List().machines(0).phase() == MachineStatus::RUNNING; };
  EXPECT_TRUE(Eventually(runs, std::chrono::seconds(60)));
  EXPECT_TRUE(
      Eventually([&] { return EchoThrough(port_, "hello") == "hello"; }, std::chrono::seconds(60)));
}

void Places::ExpectAdoptionAt(const std::string& file, bool gone) const {
  EXPECT_TRUE(Contains(RumAt(file, {"status"}).out, "this looks like machine project (" + id_));
  world_->StopController();
  for (const std::vector<std::string>& words :
       {std::vector<std::string>{"up", "-d"}, {"destroy"}, {"exec", "true"}}) {
    const Result refused = RumAt(file, words);
    EXPECT_NE(refused.exit_status, 0) << words[0];
    EXPECT_TRUE(Contains(refused.err, "`rum adopt`")) << words[0] << ": " << refused.err;
  }
  ExpectTheOne(file_, gone);
}

void Places::Adopt(const std::string& file) const {
  const Result adopted = RumAt(file, {"adopt"});
  EXPECT_EQ(adopted.exit_status, 0) << adopted.err;
  ExpectRunningAt(file);
  world_->StopController();
  ExpectTheOne(file);
  const Result again = RumAt(file, {"up", "-d"});
  EXPECT_EQ(again.exit_status, 0) << again.err;
  EXPECT_TRUE(Contains(again.out + again.err, "nothing to do")) << again.out << again.err;
}

void Places::MovedWhileAConnectionIsOpen() {
  const std::string moved = world_->folder() + "/elsewhere/moved";
  fs::create_directory(world_->folder() + "/elsewhere");
  {
    EchoingConnection connection(port_);
    ASSERT_TRUE(connection.Flows(20000));
    fs::rename(folder_, moved);
    EXPECT_TRUE(Contains(world_->Rum({"list"}).out, "file gone: " + file_));
    EXPECT_EQ(world_->Guest("echo here"), "here") << "by where its file was";
    const Result adopted = RumAt(moved + "/rum.toml", {"adopt"});
    EXPECT_EQ(adopted.exit_status, 0) << adopted.err;
    ExpectTheOne(moved + "/rum.toml");
    EXPECT_TRUE(connection.Flows(20000)) << "neither the move nor the adoption is its affair";
  }
  world_->StopController();
  ExpectTheOne(moved + "/rum.toml");
  fs::rename(moved, folder_);
  fs::remove(world_->folder() + "/elsewhere");
  world_->StopController();
  Adopt(file_);
}

void Places::MovedToAnotherFilesystem() {
  const std::string there = ElsewhereOnTheHost();
  fs::copy(folder_, there, fs::copy_options::recursive);
  fs::remove_all(folder_);
  ExpectAdoptionAt(there + "/rum.toml", true);
  Adopt(there + "/rum.toml");
  fs::copy(there, folder_, fs::copy_options::recursive);
  fs::remove_all(there);
  Adopt(file_);
}

void Places::RenamedFile() {
  const std::string renamed = folder_ + "/dev.toml";
  fs::rename(file_, renamed);
  ExpectAdoptionAt(renamed, true);
  Adopt(renamed);
  fs::rename(renamed, file_);
  Adopt(file_);
}

// Read through the link, also when that is exchanged; what it leads to names no other machine.
void Places::FileThatIsALink() {
  const std::string real = world_->folder() + "/real.conf";
  const std::string other = world_->folder() + "/other.conf";
  const std::string hostname = world_->file.hostname;
  fs::rename(file_, real);
  fs::create_symlink("../real.conf", file_);
  world_->StopController();
  ExpectTheOne(file_);
  EXPECT_EQ(world_->Rum({"apply", "--exit-code"}).exit_status, 0) << "nothing changed";
  world_->file.hostname = "linked";
  std::ofstream(other) << world_->file.Toml();
  fs::create_symlink("../other.conf", file_ + ".new");
  fs::rename(file_ + ".new", file_);
  EXPECT_EQ(world_->Rum({"apply"}).exit_status, 0);
  EXPECT_EQ(world_->Guest("hostname"), "linked");
  world_->StopController();
  ExpectTheOne(file_);
  world_->file.hostname = hostname;
  world_->Save();  // a file in the link's place
  EXPECT_EQ(world_->Rum({"apply"}).exit_status, 0);
  EXPECT_EQ(world_->Guest("hostname"), hostname);
  ExpectTheOne(file_);
  fs::remove(real);
  fs::remove(other);
}

void Places::FolderReachedByALink() {
  const std::string link = world_->folder() + "/link";
  fs::create_directory_symlink("project", link);
  for (const bool restarted : {false, true}) {
    if (restarted) world_->StopController();
    ExpectRunningAt(link + "/rum.toml");
    const Result up = RumAt(link + "/rum.toml", {"up", "-d"});
    EXPECT_TRUE(Contains(up.out + up.err, "nothing to do")) << up.out << up.err;
    ExpectTheOne(file_);
  }
  fs::remove(link);
}

void Places::FolderThatLeftALink() {
  const std::string larger = world_->folder() + "/larger";
  fs::rename(folder_, larger);
  fs::create_directory_symlink("larger", folder_);
  ExpectAdoptionAt(larger + "/rum.toml", false);
  Adopt(larger + "/rum.toml");
  EXPECT_TRUE(Contains(RumAt(file_, {"status"}).out, "project  running")) << "by the old path too";
  fs::remove(folder_);
  fs::rename(larger, folder_);
  Adopt(file_);
}

void Places::CopiedFolder() {
  const std::string copy = world_->folder() + "/copy";
  fs::copy(folder_, copy, fs::copy_options::recursive);
  for (const bool restarted : {false, true}) {
    if (restarted) world_->StopController();
    const Result status = RumAt(copy + "/rum.toml", {"status"});
    EXPECT_TRUE(Contains(status.out, "copy  not defined")) << status.out;
    EXPECT_FALSE(Contains(status.out, "this looks like")) << status.out;
    const Result adopted = RumAt(copy + "/rum.toml", {"adopt", id_});
    EXPECT_EQ(adopted.exit_status, 1);
    EXPECT_TRUE(Contains(adopted.err, "a folder that was copied is another machine"));
    RumAt(copy + "/rum.toml", {"down"});
    RumAt(copy + "/rum.toml", {"destroy"});
    ExpectTheOne(file_);
  }
  fs::remove_all(copy);
}

void Places::DeletedFolder() {
  const std::string fresh = world_->folder() + "/fresh";
  fs::remove_all(folder_);
  for (const bool restarted : {false, true}) {
    if (restarted) world_->StopController();
    ExpectTheOne(file_, true);
    const Result status = RumNamed({"status"});
    EXPECT_TRUE(Contains(status.out, "project  running")) << status.out << status.err;
  }
  fs::create_directory(fresh);
  std::ofstream(fresh + "/rum.toml") << world_->file.Toml();
  ExpectAdoptionAt(fresh + "/rum.toml", true);
  Adopt(fresh + "/rum.toml");
  fs::remove_all(fresh);
  fs::create_directory(folder_);
  world_->Save();
  Adopt(file_);
}

}  // namespace rum::e2e
