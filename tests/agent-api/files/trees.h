#ifndef RUM_TESTS_AGENT_API_FILES_TREES_H_
#define RUM_TESTS_AGENT_API_FILES_TREES_H_

#include <sys/stat.h>

#include <map>
#include <string>

#include "agent-api/agent.pb.h"

namespace rum {

std::string Read(const std::string& path);
void Write(const std::string& path, const std::string& bytes);
struct stat Info(const std::string& path);

// Kind, mode, time and content of everything below `path`, by relative path.
std::map<std::string, std::string> Describe(const std::string& path);

// In a property: a tree at `path`; and what no copy of one may tell.
void MakeAnyTree(const std::string& path);
void NoProblem(const std::string& path, const std::string& text);

agent::CopyMessage Item(agent::CopyItem::Kind kind, const std::string& name);
agent::CopyMessage Data(const std::string& bytes);
agent::CopyMessage End(bool whole = true);

}  // namespace rum

#endif  // RUM_TESTS_AGENT_API_FILES_TREES_H_
