// fetch_program FOLDER URL: fetches, prints the path, and holds the image until its stdin ends.
// With FULL as a third argument FOLDER is first made a full disk of 64 kB, seen by this process
// alone.
#include <sched.h>
#include <sys/mount.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <iostream>

#include "controller/images/image_cache.h"

namespace {

bool MountSmallDisk(const std::string& folder) {
  const uid_t user = getuid();
  if (user != 0) {
    if (unshare(CLONE_NEWUSER | CLONE_NEWNS) != 0) return false;
    std::ofstream("/proc/self/uid_map") << "0 " << user << " 1";
  } else if (unshare(CLONE_NEWNS) != 0) {
    return false;
  }
  std::filesystem::create_directories(folder);
  return mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0 &&
         mount("tmpfs", folder.c_str(), "tmpfs", 0, "size=64k") == 0;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc > 3 && !MountSmallDisk(argv[1])) {
    std::cout << "no small disk" << std::endl;
    return 2;
  }
  rum::ImageCache cache(argv[1]);
  const auto fetched = cache.Fetch({argv[2], "", ""}, [](const std::string& text) {
    if (text.rfind("waiting", 0) == 0) std::cout << text << std::endl;
  });
  if (!fetched.ok()) {
    std::cout << fetched.status() << std::endl;
    return 1;
  }
  std::cout << fetched->path << std::endl;
  char byte = 0;
  return read(STDIN_FILENO, &byte, 1) == 0 ? 0 : 1;
}
