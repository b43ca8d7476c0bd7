#ifndef RUM_TESTS_E2E_PLACES_H_
#define RUM_TESTS_E2E_PLACES_H_

#include <cstdint>
#include <string>
#include <vector>

#include "controller/service/control.pb.h"
#include "tests/e2e/world.h"

namespace rum::e2e {

// Does to the folder of a running machine what people do, as expectations of a test; a new
// controller comes after each step. Each case leaves folder and machine as it found them.
class Places {
 public:
  // `port` leads to an echo server in the guest.
  Places(World* world, uint16_t port);

  void MovedWhileAConnectionIsOpen();
  void MovedToAnotherFilesystem();
  void RenamedFile();
  void FileThatIsALink();
  void FolderReachedByALink();
  void FolderThatLeftALink();
  void CopiedFolder();
  void DeletedFolder();

 private:
  Result RumAt(const std::string& file, const std::vector<std::string>& words) const;
  Result RumNamed(const std::vector<std::string>& words) const;  // by its id, without a file
  Result Said(const std::vector<std::string>& argv) const;
  control::ListMachinesReply List() const;
  // `rum status` there says so, soon after a controller came.
  void ExpectRunningAt(const std::string& file) const;
  // The list, libvirt and the guest have one machine, the same as ever; its file is `file`.
  void ExpectTheOne(const std::string& file, bool gone = false) const;
  // In a new controller as well: nothing is made at `file` without a word, which `rum adopt` is.
  void ExpectAdoptionAt(const std::string& file, bool gone) const;
  void Adopt(const std::string& file) const;
  std::string Volumes() const;

  World* const world_;
  const uint16_t port_;
  const std::string folder_;  // of the machine's file
  const std::string file_;
  const std::string id_;
  const std::string uuid_;
  const std::string volumes_;
  const std::string boot_;
};

}  // namespace rum::e2e

#endif  // RUM_TESTS_E2E_PLACES_H_
