#ifndef RUM_STATE_CONSENT_H_
#define RUM_STATE_CONSENT_H_

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "state/config.pb.h"
#include "state/record.pb.h"

namespace rum {

// Knows by which values a file may reach beyond its own guest. Whoever clones a project did not
// write its file, and a guest with the project's folder can rewrite it: values of the fields with
// `reaches_host` (config.proto) count when they reach nothing that is not the project's, or when
// the user has consented to them. Values, not files: whatever else a file says goes on as always.

// A value that a file wants and that nobody has consented to.
struct Ask {
  std::string field;     // the item: "mounts[/data]", "ports[0.0.0.0:8080]", "image.base"
  std::string before;    // the value that is in force in its place; empty: none
  std::string value;     // as ConsentedValue has it
  std::string sentence;  // what it means: "shares /home/you with the guest, which can write there"
};

// A local file that image.base names, as it was found.
struct ImageFacts {
  std::string path;           // without links; as it was written where it cannot be followed
  bool absent = false;        // there is none, and so nothing is reached
  bool regular = false;       // a file that could be looked into
  bool of_everybody = false;  // every user of the host may read it
  std::string below;          // what it is a layer over, or has its data in; empty: it is whole
};

// What is around a file on its host; see surroundings.h.
struct Surroundings {
  std::string project;     // the folder of the file, without links
  std::string file;        // the file itself, which may be elsewhere by a link
  std::string repository;  // the top of the git work tree that holds it; empty: there is none
  std::string cache;       // where rum keeps images
  // Sources of mounts and folders of unix sockets, to where they are without links.
  std::map<std::string, std::string> folders;
  std::map<std::string, ImageFacts> images;  // local ones, by image.base
  // Those of the libvirt that the machine is in, without what rum made for it. nullopt: it was not
  // asked, so that any may be there.
  std::optional<std::set<std::string>> networks;
};

struct Consent {
  std::vector<ConsentedValue> given;
  // What the machine is made by now: it goes on with that in the place of a value that is withheld.
  // Null: there is no machine.
  const Config* in_force = nullptr;
};

struct Withheld {
  Config config;  // what may be acted on
  std::vector<Ask> asks;
  // The fields without which there is nothing to act on: no libvirt may be asked, nothing be made.
  std::vector<std::string> blocked_by;
  // The image of the machine that there is: it must not be started, or its disk be made again.
  bool may_start = true;
  bool guest_writes_file = false;  // a mount lets it
};

// Pure. Equal to `wanted` where everything that it asks is consented to, but for what is noted in
// it: which interfaces join a network of libvirt's.
Withheld Withhold(const Config& wanted, const Consent& consent, const Surroundings& around);

// Whether Withhold() wants to know of networks.
bool NamesNetworks(const Config& config);

// "image.base: /srv/a.qcow2 → /etc/x: boots from …".
std::string AskText(const Ask& ask);
// The consent to what was asked.
ConsentedValue ConsentTo(const Ask& ask, int64_t now_ms);
// Whether consent to `value` of the item `field` is among those given.
bool IsGiven(const std::vector<ConsentedValue>& given, const std::string& field,
             const std::string& value);
// Whether `word` of a user ("ports", "mounts[/data]", "mounts[/data].source") means the item.
bool Means(const std::string& word, const std::string& field);

}  // namespace rum

#endif  // RUM_STATE_CONSENT_H_
