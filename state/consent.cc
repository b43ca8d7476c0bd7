#include "state/consent.h"

#include <algorithm>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "state/bind_address.h"
#include "state/item_name.h"
#include "state/libvirt_uri.h"
#include "state/surroundings.h"

namespace rum {
namespace {

constexpr char kUriField[] = "advanced.libvirt_uri";
constexpr char kUsualNetwork[] = "default";
constexpr char kOwnNetwork[] = "one of the machine's own";
constexpr char kReadOnly[] = "read-only ";  // no path begins so: they are absolute

const std::string& KeyOf(const char* table) {
  return Config::descriptor()->FindFieldByName(table)->options().GetExtension(rum::key);
}

const Interface* CardIn(const Config* config, const std::string& network) {
  if (config == nullptr) return nullptr;
  for (const Interface& card : config->network().interfaces()) {
    if (card.network() == network) return &card;
  }
  return nullptr;
}

class Withholding {
 public:
  Withholding(const Config& wanted, const Consent& consent, const Surroundings& around)
      : wanted_(wanted), consent_(consent), around_(around) {
    result_.config = wanted;
  }

  Withheld Run() {
    Uri();
    Images();
    Networks();
    Mounts();
    Ports();
    return std::move(result_);
  }

 private:
  bool Given(const std::string& field, const std::string& value) const {
    return IsGiven(consent_.given, field, value);
  }

  void Add(const std::string& field, const std::string& before, const std::string& value,
           const std::string& sentence) {
    result_.asks.push_back({field, before, value, sentence});
  }

  // What no file may name can only be of an old record, and nobody connects to it.
  bool MayUse(const std::string& uri) const {
    return !IsRemoteLibvirt(uri) || !LibvirtUriProblem(uri).empty() || Given(kUriField, uri);
  }

  void Uri() {
    const std::string& uri = wanted_.advanced().libvirt_uri();
    if (MayUse(uri)) return;
    const bool held =
        consent_.in_force != nullptr && MayUse(consent_.in_force->advanced().libvirt_uri());
    const std::string before = held ? consent_.in_force->advanced().libvirt_uri() : "";
    result_.config.mutable_advanced()->set_libvirt_uri(before);
    if (!held) result_.blocked_by.push_back(kUriField);
    Add(kUriField, before, uri, RemoteLibvirtText(uri));
  }

  // The value is the file that is meant, whatever links lead to it, and what it is a layer over.
  static std::string ValueOf(const ImageFacts& image) {
    return image.below.empty()
               ? PlainPath(image.path)
               : absl::StrCat(PlainPath(image.path), kLayerOver, PlainPath(image.below));
  }

  const ImageFacts& FactsOf(const std::string& base) const {
    static const ImageFacts kUnknown;
    const auto facts = around_.images.find(base);
    return facts == around_.images.end() ? kUnknown : facts->second;
  }

  bool MayBoot(const std::string& base) const {
    if (!IsLocalImage(base)) return true;
    const ImageFacts& image = FactsOf(base);
    if (image.absent) return true;
    const bool near = IsInside(image.path, around_.project) || IsInside(image.path, around_.cache);
    const bool harmless = image.regular && image.below.empty() && (near || image.of_everybody);
    return harmless || Given(kImageField, ValueOf(image));
  }

  void Images() {
    const std::string& base = wanted_.image().base();
    if (MayBoot(base)) return;
    const ImageFacts& image = FactsOf(base);
    const Config* const held = consent_.in_force;
    if (held == nullptr) {
      result_.blocked_by.push_back(kImageField);
    } else {
      // The disk that there is was made of it; another one is made when the user says so.
      *result_.config.mutable_image() = held->image();
      result_.may_start = MayBoot(held->image().base());
    }
    std::string why = ", which not everybody on this host may read";
    if (!image.below.empty()) {
      why = absl::StrCat(", a layer over ", PlainPath(image.below),
                         ": the guest reads what is in that, too");
    } else if (!image.regular) {
      why = ", which cannot be looked into as a file";
    }
    const bool same = held != nullptr && held->image().base() == base;
    Add(kImageField, held == nullptr || same ? "" : held->image().base(), ValueOf(image),
        absl::StrCat("boots from ", PlainPath(image.path), why));
  }

  bool MayJoin(const std::string& network) const {
    return network == kUsualNetwork || Given(FieldOf(network), PlainPath(network));
  }

  static std::string FieldOf(const std::string& network) {
    return ItemName("network.interfaces", {network});
  }

  // Whether libvirt has such a network. Where nobody asked it, what the machine has still counts.
  bool IsThere(const std::string& network, const Interface* held) const {
    if (around_.networks.has_value()) return around_.networks->count(network) > 0;
    return held == nullptr ? network != kUsualNetwork : held->joined();
  }

  void Networks() {
    if (!NamesNetworks(wanted_)) return;
    Network* const network = result_.config.mutable_network();
    network->clear_interfaces();
    for (const Interface& card : wanted_.network().interfaces()) {
      const Interface* const held = CardIn(consent_.in_force, card.network());
      const bool there = IsThere(card.network(), held);
      const bool may = !there || MayJoin(card.network());
      const bool has_own = held != nullptr && !held->joined();
      if (may || has_own) {
        Interface* const kept = network->add_interfaces();
        *kept = card;
        kept->set_joined(there && may);
      }
      if (!may) AskToJoin(card.network(), has_own);
    }
  }

  void AskToJoin(const std::string& network, bool has_own) {
    const char* const doubt = around_.networks.has_value() ? "" : ", if there is one";
    Add(FieldOf(network), has_own ? kOwnNetwork : "", PlainPath(network),
        absl::StrCat("joins libvirt's network ", PlainPath(network), doubt,
                     ", which rum did not make: the guest and all that is on it reach each other"));
  }

  std::string FolderOf(const Mount& mount) const {
    const auto folder = around_.folders.find(mount.source());
    return folder == around_.folders.end() ? "" : folder->second;
  }

  std::string ValueOf(const Mount& mount) const {
    const std::string folder = FolderOf(mount);
    return absl::StrCat(mount.readonly() ? kReadOnly : "",
                        PlainPath(folder.empty() ? mount.source() : folder));
  }

  bool MayShare(const Mount& mount) const {
    const std::string folder = FolderOf(mount);
    if (!folder.empty() &&
        (IsInside(folder, around_.project) || IsInside(folder, around_.repository))) {
      return true;
    }
    const std::string field = ItemName("mounts", mount, KeyOf("mounts"));
    const std::string value = ValueOf(mount);
    // Who may write may read.
    return Given(field, value) ||
           (mount.readonly() && Given(field, std::string(absl::StripPrefix(value, kReadOnly))));
  }

  const Mount* InForce(const Mount& wanted) const {
    if (consent_.in_force == nullptr) return nullptr;
    for (const Mount& mount : consent_.in_force->mounts()) {
      if (mount.target() == wanted.target() && MayShare(mount)) return &mount;
    }
    return nullptr;
  }

  void Mounts() {
    result_.config.clear_mounts();
    for (const Mount& mount : wanted_.mounts()) {
      const std::string folder = FolderOf(mount);
      const bool holds_file = IsInside(around_.project, folder) || IsInside(around_.file, folder);
      if (!mount.readonly() && holds_file) result_.guest_writes_file = true;
      if (MayShare(mount)) {
        *result_.config.add_mounts() = mount;
        continue;
      }
      const Mount* held = InForce(mount);
      if (held != nullptr) {
        Mount* kept = result_.config.add_mounts();
        *kept = mount;
        kept->set_source(held->source());
        kept->set_readonly(held->readonly());
      }
      const std::string where = PlainPath(folder.empty() ? mount.source() : folder);
      Add(ItemName("mounts", mount, KeyOf("mounts")), held == nullptr ? "" : ValueOf(*held),
          ValueOf(mount),
          absl::StrCat("shares ", where, " with the guest, which ", RightsOf(mount)));
    }
  }

  // QEMU keeps a folder of a session read-only; virtiofsd, under another libvirt, does not.
  const char* RightsOf(const Mount& mount) const {
    if (!mount.readonly()) return "can write there";
    return absl::EndsWith(wanted_.advanced().libvirt_uri(), "/session")
               ? "can read it"
               : "is to read it (under qemu:///system its root can write there all the same)";
  }

  // What `auto` chooses is no part of what is wanted.
  static std::string FieldOf(const Port& port) {
    if (!port.auto_()) return ItemName("ports", port, KeyOf("ports"));
    return ItemName("ports", {port.bind(), "auto", absl::StrCat(port.guest())});
  }

  static std::string ValueOf(const Port& port) {
    return absl::StrCat(port.auto_() ? absl::StrCat(port.bind(), " at any port")
                                     : PlainPath(HostPort(port.bind(), port.host())),
                        " to guest port ", port.guest());
  }

  bool MayListen(const Port& port) const {
    return port.bind().empty() || IsLoopback(port.bind()) || IsNearSocket(port.bind()) ||
           Given(FieldOf(port), ValueOf(port));
  }

  bool IsNearSocket(const std::string& bind) const {
    if (!IsUnixBind(bind)) return false;
    const auto folder = around_.folders.find(FolderOfPath(UnixPath(bind)));
    if (folder == around_.folders.end() || folder->second.empty()) return false;
    return IsInside(folder->second, around_.project) ||
           IsInside(folder->second, around_.repository);
  }

  static std::string SentenceOf(const Port& port) {
    const std::string& bind = port.bind();
    if (IsUnixBind(bind)) {
      return absl::StrCat("makes the socket ", PlainPath(UnixPath(bind)),
                          ": your programs that connect there reach guest port ", port.guest());
    }
    const bool all = bind == "0.0.0.0" || bind == "::";
    return absl::StrCat("listens on ",
                        all ? "all addresses of this host" : absl::StrCat("address ", bind),
                        ": others in your network reach guest port ", port.guest());
  }

  const Port* InForce(const Port& wanted) const {
    if (consent_.in_force == nullptr) return nullptr;
    for (const Port& port : consent_.in_force->ports()) {
      if (FieldOf(port) == FieldOf(wanted) && MayListen(port)) return &port;
    }
    return nullptr;
  }

  void Ports() {
    result_.config.clear_ports();
    for (const Port& port : wanted_.ports()) {
      if (MayListen(port)) {
        *result_.config.add_ports() = port;
        continue;
      }
      const Port* held = InForce(port);
      if (held != nullptr) *result_.config.add_ports() = *held;
      Add(FieldOf(port), held == nullptr ? "" : ValueOf(*held), ValueOf(port), SentenceOf(port));
    }
  }

  const Config& wanted_;
  const Consent& consent_;
  const Surroundings& around_;
  Withheld result_;
};

}  // namespace

Withheld Withhold(const Config& wanted, const Consent& consent, const Surroundings& around) {
  return Withholding(wanted, consent, around).Run();
}

bool NamesNetworks(const Config& config) { return config.network().interfaces_size() > 0; }

std::string AskText(const Ask& ask) {
  return absl::StrCat(ask.field, ": ", ask.before, ask.before.empty() ? "" : " → ", ask.value, ": ",
                      ask.sentence);
}

ConsentedValue ConsentTo(const Ask& ask, int64_t now_ms) {
  ConsentedValue consented;
  consented.set_field(ask.field);
  consented.set_value(ask.value);
  consented.set_given_ms(now_ms);
  return consented;
}

bool IsGiven(const std::vector<ConsentedValue>& given, const std::string& field,
             const std::string& value) {
  return std::any_of(given.begin(), given.end(), [&](const ConsentedValue& one) {
    return one.field() == field && one.value() == value;
  });
}

bool Means(const std::string& word, const std::string& field) {
  if (word.empty()) return false;
  if (IsWithin(field, word) || IsWithin(word, field)) return true;
  // "mounts.source" is a field of all mounts.
  const size_t dot = word.rfind('.');
  return word.find('[') == std::string::npos && dot != std::string::npos &&
         absl::StartsWith(field, absl::StrCat(word.substr(0, dot), "["));
}

}  // namespace rum
