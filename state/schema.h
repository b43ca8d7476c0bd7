#ifndef RUM_STATE_SCHEMA_H_
#define RUM_STATE_SCHEMA_H_

#include <google/protobuf/descriptor.h>

#include <set>
#include <string>
#include <vector>

#include "state/config.pb.h"

namespace rum {

// What the options of the fields from Config down to one field say together: the innermost word
// counts.
struct FieldMeaning {
  Effect effect = RESTART;
  std::string reason;
  std::string room;  // see config.proto; empty: the effect is always that
  FieldMeaning Below(const google::protobuf::FieldDescriptor& field) const;
};

// The fields along a dotted path ("ports[1].host", "drives.data.size"); empty when there is no such
// path. Names of maps' entries may be any.
std::vector<const google::protobuf::FieldDescriptor*> FieldsAlong(const std::string& path);

// The dotted paths of all fields whose changes cost one of `effects`, in the order of the schema; a
// table of many elements is one field.
std::vector<std::string> FieldsOfEffects(const std::set<Effect>& effects);

// Those among them whose changes are live within a room.
std::vector<std::string> FieldsWithRoom();

// Whether it is a key of the file; else rum itself notes it.
bool IsKey(const google::protobuf::FieldDescriptor& field);

// The message that a table of this field is; for a map, what it maps to. nullptr for a scalar.
const google::protobuf::Descriptor* TableOf(const google::protobuf::FieldDescriptor& field);

// The one of `names` that a person who typed `typed` most probably meant; empty when none is near.
std::string Nearest(const std::string& typed, const std::vector<std::string>& names);
// The same for the end of a message: " (did you mean `status`?)".
std::string DidYouMean(const std::string& typed, const std::vector<std::string>& names);

// "string", "integer", "size", "boolean", "table", "array of tables", "array of strings".
std::string TypeName(const google::protobuf::FieldDescriptor& field);

}  // namespace rum

#endif  // RUM_STATE_SCHEMA_H_
