#ifndef RUM_STATE_DEFAULTS_H_
#define RUM_STATE_DEFAULTS_H_

#include <google/protobuf/message.h>

#include <string>

#include "state/config.pb.h"

namespace rum {

// Gives every field its default of the schema, and makes every table that may be left out, as in a
// file that says nothing.
void FillDefaults(google::protobuf::Message* message);

// The defaults that come from other fields or from where the file lies; `path` is canonical.
void ResolveDefaults(const std::string& path, Config* config);

}  // namespace rum

#endif  // RUM_STATE_DEFAULTS_H_
