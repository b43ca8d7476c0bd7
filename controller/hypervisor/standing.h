#ifndef RUM_CONTROLLER_HYPERVISOR_STANDING_H_
#define RUM_CONTROLLER_HYPERVISOR_STANDING_H_

#include <map>
#include <set>
#include <string>
#include <vector>

namespace rum {

// Somebody who stands on files: they must not go before he does.
struct Use {
  std::string by;                  // "domain x", "snapshot s1 of domain x"; of a volume its path
  bool file = false;               // `by` is a file, which may go itself
  std::set<std::string> paths;     // all that he stands on, down to the last file of each chain
  std::vector<std::string> words;  // texts of his in which a path may stand: QEMU's arguments
};

// Everybody who may stand on a file, as far as could be asked.
struct Uses {
  std::vector<Use> all;
  std::vector<std::string> unknown;  // what could not be asked, with the reason
};

// Tells which files may be removed.
struct Removable {
  std::vector<std::string> go;              // in this order: who stands on another goes first
  std::map<std::string, std::string> stay;  // the reason by the path
};

// Judges `wanted`. A file goes only if it is `own`, and nobody stands on it but files that go
// before; nothing goes where it could not be asked who stands on it. Paths are compared as they
// are: see RealPath().
Removable JudgeRemoval(const std::set<std::string>& wanted, const std::set<std::string>& own,
                       const Uses& uses);

// Says who stands on `path`: "domain x stands on it"; empty: nobody, as far as is known.
std::string WhoStandsOn(const std::string& path, const Uses& uses,
                        const std::set<std::string>& but_for = {});

}  // namespace rum

#endif  // RUM_CONTROLLER_HYPERVISOR_STANDING_H_
