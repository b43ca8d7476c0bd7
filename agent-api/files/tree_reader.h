#ifndef RUM_AGENT_API_FILES_TREE_READER_H_
#define RUM_AGENT_API_FILES_TREE_READER_H_

#include <functional>
#include <string>

#include "absl/status/status.h"
#include "agent-api/agent.pb.h"

namespace rum {

// Gets one message; false: nobody wants more.
using CopySink = std::function<bool(const agent::CopyMessage&)>;

// Hands an offer to whoever makes the tree and waits for the answer; false: none will come.
using CopyAsk = std::function<bool(const agent::CopyOffer&, agent::CopyHave*)>;

// Tells the file or folder at `path` as items, data and ends; see CopyItem. A link at `path` itself
// is followed, links below are told as links. What cannot be read, and what is neither file, folder
// nor link, is told as a problem, and the rest goes on. An error: there is nothing to tell at
// `path`, or nobody wants more (Cancelled). Keeps one descriptor for each level of the tree.
// With `ask`, files that are there already are only named, and one that broke off is told from
// there on. It costs one question, and one for each folder that is there.
absl::Status TellTree(const std::string& path, const CopySink& sink, const CopyAsk& ask = {});

}  // namespace rum

#endif  // RUM_AGENT_API_FILES_TREE_READER_H_
