#include "agent-api/guest/card_setup.h"

#include <net/if.h>
#include <poll.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <iterator>
#include <optional>
#include <set>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "agent-api/guest/text_file.h"
#include "agent-api/guest/tool.h"

namespace rum::guest {
namespace {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;

constexpr char kOwnList[] = "/var/lib/rum/cards";  // lines "MAC PATH", or see NoPathOf()
constexpr size_t kMostOfList = 64 * 1024;
constexpr char kToldToLeave[] = "systemd-networkd is told to leave it alone";

// Wakes when something becomes of cards, or a network manager writes down what it makes of one.
class NetworkWatch {
 public:
  explicit NetworkWatch(const NetworkWorld& world)
      : links_(ListenToLinks()), files_(inotify_init1(IN_NONBLOCK | IN_CLOEXEC)) {
    for (const char* folder :
         {"/run/systemd/netif/links", "/run/NetworkManager", "/run/NetworkManager/devices"}) {
      inotify_add_watch(files_, (world.root + folder).c_str(),
                        IN_CLOSE_WRITE | IN_MOVED_TO | IN_CREATE | IN_ONLYDIR);
    }
  }
  ~NetworkWatch() {
    if (links_ >= 0) close(links_);
    if (files_ >= 0) close(files_);
  }
  NetworkWatch(const NetworkWatch&) = delete;
  NetworkWatch& operator=(const NetworkWatch&) = delete;

  // False: nothing happened until then.
  bool Wait(Clock::time_point deadline) {
    const auto left =
        std::chrono::duration_cast<std::chrono::milliseconds>(deadline - Clock::now());
    pollfd fds[] = {{links_, POLLIN, 0}, {files_, POLLIN, 0}};
    if (left.count() <= 0 || poll(fds, std::size(fds), static_cast<int>(left.count()) + 1) == 0)
      return false;
    char buffer[16384];
    for (const int fd : {links_, files_}) {
      while (read(fd, buffer, sizeof buffer) > 0) {
      }
    }
    return true;
  }

 private:
  const int links_;
  const int files_;
};

absl::Status BringUp(const std::string& name) {
  const int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  ifreq request{};
  name.copy(request.ifr_name, sizeof request.ifr_name - 1);
  bool done = fd >= 0 && ioctl(fd, SIOCGIFFLAGS, &request) == 0;
  request.ifr_flags = static_cast<short>(request.ifr_flags | IFF_UP);
  done = done && ioctl(fd, SIOCSIFFLAGS, &request) == 0;
  const int error = errno;
  if (fd >= 0) close(fd);
  if (done) return absl::OkStatus();
  return absl::InternalError(absl::StrCat("bringing ", name, " up: ", std::strerror(error)));
}

// In place of a path: that a manager was asked in vain to see to a card, or that there was none.
std::string NoPathOf(CardKeeper::Manager manager) {
  return absl::StrCat("-", static_cast<int>(manager));
}
bool IsPath(const std::string& path) { return absl::StartsWith(path, "/"); }

std::string HeaderOf(const std::string& mac) {
  return absl::StrCat(kOwnFile, mac, ", with which it goes.");
}

std::string NetworkdRule(const std::string& mac) {
  return absl::StrCat(
      HeaderOf(mac), "\n[Match]\nMACAddress=", mac,
      "\nType=ether\n\n[Link]\nRequiredForOnline=no\n\n[Network]\nDHCP=yes\n\n[DHCPv4]\n"
      "ClientIdentifier=mac\n");
}

std::string IfupdownRule(const std::string& mac, const std::string& name) {
  return absl::StrCat(HeaderOf(mac), "\nauto ", name, "\niface ", name, " inet dhcp\n");
}

}  // namespace

CardSetup::CardSetup() : CardSetup({"", HasTool}, RunTool, Patience()) {}

CardSetup::CardSetup(NetworkWorld world, Tool run, Patience patience)
    : world_(std::move(world)), run_(std::move(run)), patience_(patience) {}

std::vector<agent::CardState> CardSetup::Look(const std::vector<std::string>& macs,
                                              const std::vector<agent::Card>& cards) const {
  std::vector<agent::CardState> states;
  for (const std::string& mac : macs) {
    bool there = false, has_address = false;
    for (const agent::Card& card : cards) {
      if (card.mac() != mac) continue;
      there = true;
      has_address = has_address || !card.addresses().empty();
    }
    if (!there) continue;
    agent::CardState& state = states.emplace_back();
    state.set_mac(mac);
    if (!has_address) LookCloser(&state);
  }
  return states;
}

void CardSetup::LookCloser(agent::CardState* state) const {
  const std::optional<Link> link = LinkOf(state->mac());
  if (!link.has_value()) return;
  const CardKeeper keeper = KeeperOf(world_, *link);
  const bool tried = Has(ReadOwn(), {state->mac(), NoPathOf(keeper.manager)});
  state->set_curable(keeper.what == CardKeeper::kLeaves && !tried);
  // One that was there when the guest booted, and that it leaves alone, is as its owner wants it.
  if (state->curable() || (keeper.what == CardKeeper::kRefuses && tried))
    state->set_problem(keeper.why);
  if (keeper.what == CardKeeper::kLeaves && tried) state->set_problem(kToldToLeave);
}

// What has a device of its own: a bridge has the address of a card that is in it.
std::optional<Link> CardSetup::LinkOf(const std::string& mac) const {
  for (const Link& link : LinksNow().value_or(std::vector<Link>())) {
    std::error_code none;
    const bool own =
        fs::exists(absl::StrCat(world_.root, "/sys/class/net/", link.name, "/device"), none);
    if (link.mac == mac && own) return link;
  }
  return std::nullopt;
}

bool CardSetup::Has(const std::vector<Own>& all, const Own& own) {
  return std::any_of(all.begin(), all.end(),
                     [&](const Own& each) { return each.mac == own.mac && each.path == own.path; });
}

std::vector<std::string> CardSetup::Stale(const std::vector<std::string>& macs) const {
  std::set<std::string> stale;
  for (const Own& own : ReadOwn()) {
    if (std::find(macs.begin(), macs.end(), own.mac) == macs.end()) stale.insert(own.mac);
  }
  return {stale.begin(), stale.end()};
}

absl::Status CardSetup::Set(const std::vector<std::string>& macs,
                            const std::vector<std::string>& awaited) {
  const std::lock_guard<std::mutex> guard(mutex_);
  absl::Status status;
  for (const Own& own : ReadOwn()) {
    if (std::find(macs.begin(), macs.end(), own.mac) == macs.end()) status.Update(Remove(own));
  }
  for (const std::string& mac : awaited) status.Update(SetUp(mac));
  return status;
}

std::vector<CardSetup::Own> CardSetup::ReadOwn() const {
  std::vector<Own> all;
  const std::string text = ReadFile(world_.root + kOwnList, kMostOfList);
  for (const absl::string_view line : absl::StrSplit(text, '\n', absl::SkipEmpty())) {
    const std::vector<std::string> words = absl::StrSplit(line, absl::MaxSplits(' ', 1));
    if (words.size() == 2) all.push_back({words[0], words[1]});
  }
  return all;
}

absl::Status CardSetup::WriteOwn(const std::vector<Own>& all) const {
  std::string text;
  for (const Own& own : all) absl::StrAppend(&text, own.mac, " ", own.path, "\n");
  std::error_code known_soon;
  fs::create_directories(fs::path(world_.root + kOwnList).parent_path(), known_soon);
  return WriteFileAtomically(world_.root + kOwnList, text, 0600);
}

// What somebody put in its place stays.
absl::Status CardSetup::Remove(const Own& own) {
  const std::string path = world_.root + own.path;
  if (IsPath(own.path) && FirstLine(ReadFile(path, kMostOfList)) == HeaderOf(own.mac)) {
    const std::optional<Link> link = LinkOf(own.mac);
    // The card is about to go, so that it is no matter whether its manager minds.
    if (own.path == IfupdownFileOf(own.mac) && link.has_value()) (void)run_({"ifdown", link->name});
    std::error_code error;
    fs::remove(path, error);
    if (error) return absl::InternalError(absl::StrCat(own.path, ": ", error.message()));
    if (own.path == NetworkdFileOf(own.mac)) (void)run_({"networkctl", "reload"});
  }
  std::vector<Own> rest = ReadOwn();
  rest.erase(std::remove_if(rest.begin(), rest.end(),
                            [&](const Own& o) { return o.mac == own.mac && o.path == own.path; }),
             rest.end());
  return WriteOwn(rest);
}

absl::Status CardSetup::Note(const Own& own) const {
  std::vector<Own> all = ReadOwn();
  if (Has(all, own)) return absl::OkStatus();
  all.push_back(own);
  return WriteOwn(all);
}

// That it is rum's is noted before it is there.
absl::Status CardSetup::Write(const std::string& mac, const std::string& path,
                              const std::string& text) {
  const std::string there = ReadFile(world_.root + path, kMostOfList);
  if (!there.empty() && FirstLine(there) != HeaderOf(mac)) {
    return absl::FailedPreconditionError(
        absl::StrCat(path, " is not as rum made it, and is left as it is"));
  }
  if (absl::Status status = Note({mac, path}); !status.ok()) return status;
  if (there == text) return absl::OkStatus();
  std::error_code known_soon;
  fs::create_directories(fs::path(world_.root + path).parent_path(), known_soon);
  return WriteFileAtomically(world_.root + path, text, 0644);
}

absl::Status CardSetup::Tell(const CardKeeper& keeper, const Link& link) {
  if (keeper.manager == CardKeeper::kNetworkd) {
    const absl::Status written = Write(link.mac, NetworkdFileOf(link.mac), NetworkdRule(link.mac));
    return written.ok() ? run_({"networkctl", "reload"}) : written;
  }
  const absl::Status written =
      Write(link.mac, IfupdownFileOf(link.mac), IfupdownRule(link.mac, link.name));
  return written.ok() ? run_({"ifup", link.name}) : written;
}

// Until the guest has the card and its manager has said what it makes of it.
absl::Status CardSetup::Await(const std::string& mac, Link* link, CardKeeper* keeper) const {
  NetworkWatch watch(world_);  // before the first look: what comes after it wakes
  const Clock::time_point deadline = Clock::now() + patience_.appears;
  for (;;) {
    const std::optional<Link> there = LinkOf(mac);
    if (there.has_value()) {
      *link = *there;
      *keeper = KeeperOf(world_, *there);
      if (keeper->what != CardKeeper::kUndecided) return absl::OkStatus();
    }
    if (watch.Wait(deadline)) continue;
    if (there.has_value()) return absl::AbortedError(keeper->why);
    return absl::NotFoundError(absl::StrCat("the guest's kernel does not see the card ", mac));
  }
}

// After its manager was told: whether it takes it up now.
bool CardSetup::AwaitTaken(const std::string& mac) const {
  NetworkWatch watch(world_);
  const Clock::time_point deadline = Clock::now() + patience_.appears;
  for (std::optional<Link> link = LinkOf(mac);
       link.has_value() && KeeperOf(world_, *link).what == CardKeeper::kLeaves;
       link = LinkOf(mac)) {
    if (!watch.Wait(deadline)) return false;
  }
  return true;
}

void CardSetup::AwaitAddress(const std::string& mac) const {
  NetworkWatch watch(world_);
  const Clock::time_point deadline = Clock::now() + patience_.address;
  for (std::optional<Link> link = LinkOf(mac); link.has_value() && link->addresses.empty();
       link = LinkOf(mac)) {
    if (!watch.Wait(deadline)) return;
  }
}

// A rule of the guest's own comes before rum's, and says that nobody is to see to the card.
absl::Status CardSetup::TakeBack(const std::string& mac) {
  absl::Status status = Note({mac, NoPathOf(CardKeeper::kNetworkd)});
  for (const Own& own : ReadOwn()) {
    if (own.mac == mac && IsPath(own.path)) status.Update(Remove(own));
  }
  return status;
}

absl::Status CardSetup::SetUp(const std::string& mac) {
  Link link;
  CardKeeper keeper;
  if (absl::Status status = Await(mac, &link, &keeper); !status.ok()) return status;
  if (keeper.what == CardKeeper::kLeaves) {
    if (absl::Status told = Tell(keeper, link); !told.ok()) return told;
    const bool taken = AwaitTaken(mac);
    if (!taken && keeper.manager == CardKeeper::kNetworkd) return TakeBack(mac);
  } else if (keeper.what == CardKeeper::kRefuses) {
    if (absl::Status noted = Note({mac, NoPathOf(keeper.manager)}); !noted.ok()) return noted;
    // Whoever gives it an address by hand finds it up; one that somebody keeps from others is his.
    if (keeper.manager != CardKeeper::kNobody || link.up) return absl::OkStatus();
    return BringUp(link.name);
  }
  AwaitAddress(mac);
  return absl::OkStatus();
}

}  // namespace rum::guest
