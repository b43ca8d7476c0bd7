// Two muxes back to back, without sockets: whatever the order of opens, data, ends and resets, and
// wherever the bytes between them are cut, each stream gives exactly what was put into it.
#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <algorithm>
#include <cerrno>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "agent-api/forward/mux.h"

namespace rum {
namespace {

// One end of a stream that says what it is told to, and remembers what it hears.
struct End : Mux::Stream {
  std::string to_send;
  size_t sent = 0;
  bool end_after = false;
  std::string heard;
  size_t unconsumed = 0;
  size_t most_unconsumed = 0;
  bool reads = true;
  bool heard_end = false;
  bool closed = false;
  bool was_reset = false;
  int answer = -1;
  Mux* mux = nullptr;
  int32_t id = 0;

  void OnAnswer(int error) override { answer = error; }
  int64_t Take(char* buffer, size_t size) override {
    if (sent == to_send.size()) return end_after ? kEnd : kNothingNow;
    size = std::min(size, to_send.size() - sent);
    to_send.copy(buffer, size, sent);
    sent += size;
    return static_cast<int64_t>(size);
  }
  void OnData(const char* data, size_t size) override {
    EXPECT_FALSE(heard_end);
    heard.append(data, size);
    unconsumed += size;
    most_unconsumed = std::max(most_unconsumed, unconsumed);
    if (reads) Consume();
  }
  void OnEnd() override {
    EXPECT_FALSE(heard_end);
    heard_end = true;
  }
  void OnClose(bool reset) override {
    EXPECT_FALSE(closed);
    closed = true;
    was_reset = reset;
  }
  void Consume() {
    const size_t all = unconsumed;
    unconsumed = 0;
    if (!closed && all > 0) mux->Consumed(id, all);
  }
  void Say(const std::string& text, bool end) {
    to_send += text;
    end_after = end_after || end;
    if (!closed) mux->Resume(id);
  }
  void Reset() {
    mux->Reset(id);
    closed = was_reset = true;
  }
};

// What one mux says to the other, cut into pieces.
void Carry(Mux* from, Mux* to, size_t piece) {
  std::string bytes;
  EXPECT_TRUE(from->Produce([&](const char* data, size_t size) {
    bytes.append(data, size);
    return true;
  }));
  for (size_t at = 0; at < bytes.size(); at += piece) {
    EXPECT_TRUE(to->Feed(bytes.data() + at, std::min(piece, bytes.size() - at)));
  }
}

struct Pair {
  Mux host{Mux::Side::kHost, nullptr};
  Mux guest{Mux::Side::kGuest, [this](int32_t id, uint16_t port, bool probe) {
              EXPECT_FALSE(probe);
              auto end = std::make_unique<End>();
              end->mux = &guest;
              end->id = id;
              at_guest[id] = std::move(end);
              ports[id] = port;
              return at_guest[id].get();
            }};
  std::map<int32_t, std::unique_ptr<End>> at_host;
  std::map<int32_t, std::unique_ptr<End>> at_guest;
  std::map<int32_t, uint16_t> ports;
  size_t piece = 1 << 20;

  End* Open(uint16_t port) {
    auto end = std::make_unique<End>();
    end->mux = &host;
    end->id = host.Open(port, end.get(), false);
    End* opened = end.get();
    at_host[opened->id] = std::move(end);
    return opened;
  }
  void Exchange(int rounds = 1) {
    for (int i = 0; i < rounds; ++i) {
      Carry(&host, &guest, piece);
      Carry(&guest, &host, piece);
    }
  }
  // The guest's end of a stream that has arrived, answered.
  End* Peer(End* end) {
    Exchange();
    End* peer = at_guest.at(end->id).get();
    guest.Answer(end->id, 0);
    Exchange();
    return peer;
  }
};

std::string Pattern(size_t size, int seed) {
  std::string text(size, '\0');
  uint32_t state = static_cast<uint32_t>(seed) * 2654435761u + 1;
  for (char& byte : text) {
    state = state * 1664525u + 1013904223u;
    byte = static_cast<char>(state >> 24);
  }
  return text;
}

TEST(Mux, AnOpenReachesThePortAndIsAnswered) {
  Pair pair;
  End* end = pair.Open(8080);
  pair.Exchange();
  EXPECT_EQ(pair.ports.at(end->id), 8080);
  EXPECT_EQ(end->answer, -1);
  pair.guest.Answer(end->id, 0);
  pair.Exchange();
  EXPECT_EQ(end->answer, 0);
}

TEST(Mux, ARefusalCarriesTheErrno) {
  Pair pair;
  End* end = pair.Open(1);
  pair.Exchange();
  pair.guest.Answer(end->id, ECONNREFUSED);
  pair.Exchange();
  EXPECT_EQ(end->answer, ECONNREFUSED);
  end->Reset();
  pair.Exchange();
  EXPECT_TRUE(pair.at_guest.at(end->id)->closed);
  EXPECT_EQ(pair.host.streams(), 0u);
  EXPECT_EQ(pair.guest.streams(), 0u);
}

TEST(Mux, DataBeforeTheAnswerArrivesWithTheOpen) {
  Pair pair;
  End* end = pair.Open(80);
  end->Say("early", false);
  Carry(&pair.host, &pair.guest, 1 << 20);
  EXPECT_EQ(pair.at_guest.at(end->id)->heard, "early");
}

TEST(Mux, EachDirectionEndsByItself) {
  Pair pair;
  End* end = pair.Open(80);
  End* peer = pair.Peer(end);
  end->Say("question", true);
  pair.Exchange();
  EXPECT_TRUE(peer->heard_end);
  EXPECT_FALSE(peer->closed);
  peer->Say("answer", true);
  pair.Exchange();
  EXPECT_EQ(end->heard, "answer");
  EXPECT_TRUE(end->closed && peer->closed);
  EXPECT_FALSE(end->was_reset || peer->was_reset);
}

TEST(Mux, AReaderThatStandsStillHoldsAtMostTheFirstWindowAndNobodyElseUp) {
  Pair pair;
  End* slow = pair.Open(80);
  End* slow_peer = pair.Peer(slow);
  End* quick = pair.Open(81);
  End* quick_peer = pair.Peer(quick);
  slow->reads = false;
  slow_peer->Say(Pattern(4 << 20, 1), false);
  quick_peer->Say(Pattern(4 << 20, 2), false);
  pair.Exchange(500);
  EXPECT_LE(slow->heard.size(), Mux::kFirstWindow);
  EXPECT_TRUE(quick->heard == quick_peer->to_send);
  slow->reads = true;
  slow->Consume();
  pair.Exchange(500);
  EXPECT_TRUE(slow->heard == slow_peer->to_send);
}

TEST(Mux, AWindowGrowsForAReaderThatKeepsUpAndIsBounded) {
  Pair pair;
  End* end = pair.Open(80);
  End* peer = pair.Peer(end);
  peer->Say(std::string(4 << 20, 'x'), false);
  pair.Exchange(100);
  end->reads = false;
  end->most_unconsumed = 0;
  peer->Say(std::string(2 << 20, 'y'), false);
  pair.Exchange(100);
  EXPECT_GT(end->most_unconsumed, Mux::kFirstWindow);
  EXPECT_LE(end->most_unconsumed, Mux::kMostWindow);
}

TEST(Mux, WhatAllReadersTogetherHoldIsBounded) {
  constexpr size_t kStreams = 30;
  Pair pair;
  std::vector<End*> ends;
  for (size_t i = 0; i < kStreams; ++i) {
    ends.push_back(pair.Open(80));
    pair.Peer(ends.back())->Say(std::string(1 << 20, 'x'), false);
    pair.Exchange(20);
    ends.back()->reads = false;
    pair.at_guest.at(ends.back()->id)->Say(std::string(1 << 20, 'y'), false);
  }
  pair.Exchange(100);
  size_t held = 0;
  for (const End* end : ends) held += end->unconsumed;
  EXPECT_LE(held, kStreams * Mux::kFirstWindow + Mux::kSpareWindow);
  EXPECT_GT(held, Mux::kSpareWindow);
}

TEST(Mux, TenThousandResetsAreNoAttack) {
  Pair pair;
  for (int round = 0; round < 10; ++round) {
    std::vector<End*> ends;
    for (int i = 0; i < 1000; ++i) ends.push_back(pair.Open(80));
    pair.Exchange();
    for (End* end : ends) end->Reset();
    pair.Exchange();
  }
  EXPECT_EQ(pair.guest.streams(), 0u);
  End* end = pair.Open(80);
  End* peer = pair.Peer(end);
  end->Say("still here", false);
  pair.Exchange();
  EXPECT_EQ(peer->heard, "still here");
}

TEST(Mux, RubbishIsToldApart) {
  Mux guest(Mux::Side::kGuest, [](int32_t, uint16_t, bool) { return nullptr; });
  const std::string rubbish = "GET / HTTP/1.1\r\nHost: example\r\n\r\n";
  EXPECT_FALSE(guest.Feed(rubbish.data(), rubbish.size()));
}

// Checks one stream: a prefix where it was reset, all of it where it was not.
void CheckDirection(const End& from, const End& to, bool reset) {
  RC_ASSERT(to.heard.size() <= from.to_send.size());
  RC_ASSERT(from.to_send.compare(0, to.heard.size(), to.heard) == 0);
  if (reset) return;
  RC_ASSERT(to.heard.size() == from.to_send.size());
  RC_ASSERT(to.heard_end == from.end_after);
}

RC_GTEST_PROP(MuxProperty, EveryStreamGivesExactlyWhatWasPutIn, ()) {
  Pair pair;
  pair.piece = *rc::gen::elementOf(std::vector<size_t>{1, 7, 64, 4096, 1 << 20});
  const size_t most = pair.piece < 64 ? 2000 : 200000;
  std::vector<End*> ends;
  std::vector<bool> reset;
  const int steps = *rc::gen::inRange(1, 60);
  for (int step = 0; step < steps; ++step) {
    const int what = *rc::gen::inRange(0, 10);
    if (ends.empty() || what == 0) {
      ends.push_back(pair.Open(static_cast<uint16_t>(ends.size() + 1)));
      reset.push_back(false);
      if (*rc::gen::arbitrary<bool>()) pair.Peer(ends.back());
      continue;
    }
    const size_t which = *rc::gen::inRange<size_t>(0, ends.size());
    End* host = ends[which];
    const auto found = pair.at_guest.find(host->id);
    End* guest = found == pair.at_guest.end() ? nullptr : found->second.get();
    End* end = guest != nullptr && *rc::gen::arbitrary<bool>() ? guest : host;
    if (what == 1) {
      if (!end->closed) end->Reset(), reset[which] = true;
    } else if (what == 2) {
      end->reads = !end->reads;
      if (end->reads) end->Consume();
    } else if (what == 3) {
      if (!end->closed) end->Say("", true);
    } else if (what == 4) {
      pair.Exchange();
    } else if (!end->end_after && !end->closed) {
      end->Say(Pattern(*rc::gen::inRange<size_t>(0, most), step), false);
    }
  }
  for (int round = 0; round < 40; ++round) {
    pair.Exchange();
    for (End* end : ends) {
      if (pair.at_guest.count(end->id) != 0 && end->answer < 0 && !end->closed) {
        pair.guest.Answer(end->id, 0);
        pair.Exchange();
      }
    }
    for (auto* side : {&pair.at_host, &pair.at_guest}) {
      for (auto& [id, end] : *side) end->reads = true, end->Consume();
    }
  }
  for (size_t i = 0; i < ends.size(); ++i) {
    const auto found = pair.at_guest.find(ends[i]->id);
    if (found == pair.at_guest.end()) {
      RC_ASSERT(reset[i]);
      continue;
    }
    RC_ASSERT(pair.ports.at(ends[i]->id) == i + 1);
    CheckDirection(*ends[i], *found->second, reset[i]);
    CheckDirection(*found->second, *ends[i], reset[i]);
    RC_ASSERT(!reset[i] || (ends[i]->closed && found->second->closed));
  }
}

}  // namespace
}  // namespace rum
