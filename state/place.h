#ifndef RUM_STATE_PLACE_H_
#define RUM_STATE_PLACE_H_

#include <string>

#include "state/record.pb.h"

namespace rum {

// Where a machine's file is, and what tells a folder that was moved from one that was copied.

// Marks the folder of the file at `config_path`; an empty mark: it cannot be looked at.
FolderMark FolderMarkOf(const std::string& config_path);
// Whether both are the same folder. False of an empty mark.
bool SameFolder(const FolderMark& a, const FolderMark& b);

// Whether nothing has this name any more. A link that leads nowhere is there, and what cannot be
// looked at (no permission, a disk that fails) is not known to be gone.
bool IsGone(const std::string& config_path);

// Whether `from`, through links of its folders, is the file at `to` (canonical) by another path:
// the folder was moved and a link left in its place.
bool LeadsTo(const std::string& from, const std::string& to);

// Notes where the file is and what it says (its text's SHA-256; empty: it could not be read). True:
// the record did not know.
bool NotePlace(const std::string& config_path, const std::string& text_hash, MachineRecord* record);

// Whether the machine of `record` may have come to `config_path`: the folder is the same and so is
// the file's name in it, or the file says what it said. Looks at the disk.
bool MayHaveMovedTo(const std::string& config_path, const MachineRecord& record);

}  // namespace rum

#endif  // RUM_STATE_PLACE_H_
