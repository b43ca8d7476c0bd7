#include <cstdint>
#include <cstdlib>
#include <memory>
#include <mutex>

// After <cstdint>, which it does not bring along.
#include <libisofs/libisofs.h>

#include "absl/strings/str_cat.h"
#include "controller/hypervisor/seed.h"

// libisofs leaves this to libburn's header, which nothing else here needs; the layout is libburn's
// stable ABI.
struct burn_source {
  int refcount;
  int (*read)(burn_source*, unsigned char* buffer, int size);
  int (*read_sub)(burn_source*, unsigned char* buffer, int size);
  off_t (*get_size)(burn_source*);
  int (*set_size)(burn_source*, off_t size);
  void (*free_data)(burn_source*);
  burn_source* next;
  void* data;
  int version;  // 1: read_xt and cancel are there, read is not
  int (*read_xt)(burn_source*, unsigned char* buffer, int size);
  int (*cancel)(burn_source*);
};

namespace rum {
namespace {

absl::Status IsoError(const char* doing, int code) {
  return absl::InternalError(absl::StrCat("seed image: ", doing, ": ", iso_error_to_msg(code)));
}

struct BurnSourceDeleter {
  void operator()(burn_source* source) const {
    source->free_data(source);
    free(source);
  }
};

using IsoHandle = std::unique_ptr<IsoImage, decltype(&iso_image_unref)>;
using Options = std::unique_ptr<IsoWriteOpts, decltype(&iso_write_opts_free)>;
using BurnSource = std::unique_ptr<burn_source, BurnSourceDeleter>;

absl::Status AddFile(IsoImage* image, const std::string& name, const std::string& content) {
  // libisofs frees the buffer, with free().
  unsigned char* buffer = static_cast<unsigned char*>(malloc(content.size() + 1));
  if (buffer == nullptr) return absl::ResourceExhaustedError("seed image: out of memory");
  content.copy(reinterpret_cast<char*>(buffer), content.size());
  IsoStream* stream = nullptr;
  int code = iso_memory_stream_new(buffer, content.size(), &stream);
  if (code < 0) {
    free(buffer);
    return IsoError("file", code);
  }
  IsoFile* file = nullptr;
  code = iso_tree_add_new_file(iso_image_get_root(image), name.c_str(), stream, &file);
  if (code < 0) {
    iso_stream_unref(stream);
    return IsoError("file", code);
  }
  iso_node_set_permissions(reinterpret_cast<IsoNode*>(file), 0444);
  return absl::OkStatus();
}

// Fixed times and owners: the image depends on the files alone.
absl::StatusOr<Options> MakeOptions() {
  IsoWriteOpts* raw = nullptr;
  int code = iso_write_opts_new(&raw, 0);
  if (code < 0) return IsoError("options", code);
  Options options(raw, iso_write_opts_free);
  iso_write_opts_set_iso_level(raw, 3);
  iso_write_opts_set_rockridge(raw, 1);
  iso_write_opts_set_joliet(raw, 1);
  iso_write_opts_set_replace_mode(raw, 0, 0, 1, 1);
  iso_write_opts_set_replace_timestamps(raw, 2);
  iso_write_opts_set_default_timestamp(raw, 0);
  char uuid[] = "2020010100000000";
  iso_write_opts_set_pvd_times(raw, 0, 0, 0, 0, uuid);
  return options;
}

absl::StatusOr<std::string> ReadAll(burn_source* source) {
  std::string bytes;
  unsigned char buffer[2048];
  for (;;) {
    int got = source->read_xt(source, buffer, sizeof(buffer));
    if (got == 0) return bytes;
    if (got < 0) return absl::InternalError("seed image: writing it failed");
    bytes.append(reinterpret_cast<char*>(buffer), got);
  }
}

}  // namespace

absl::StatusOr<std::string> MakeIso(const std::map<std::string, std::string>& files) {
  // libisofs keeps its messages in a global place.
  static std::mutex mutex;
  std::lock_guard<std::mutex> lock(mutex);
  static const int started = iso_init();
  if (started < 0) return IsoError("libisofs", started);
  iso_set_msgs_severities(const_cast<char*>("NEVER"), const_cast<char*>("NEVER"),
                          const_cast<char*>(""));
  IsoImage* raw = nullptr;
  int code = iso_image_new("CIDATA", &raw);
  if (code < 0) return IsoError("image", code);
  IsoHandle image(raw, iso_image_unref);
  for (const auto& [name, content] : files) {
    if (absl::Status added = AddFile(image.get(), name, content); !added.ok()) return added;
  }
  absl::StatusOr<Options> options = MakeOptions();
  if (!options.ok()) return options.status();
  burn_source* source = nullptr;
  code = iso_image_create_burn_source(image.get(), options->get(), &source);
  if (code < 0) return IsoError("layout", code);
  return ReadAll(BurnSource(source).get());
}

}  // namespace rum
