#ifndef RUM_STATE_SYNTAX_WORDS_H_
#define RUM_STATE_SYNTAX_WORDS_H_

#include <cstdint>
#include <string>
#include <string_view>

namespace rum {

// What is wrong with a text that is not TOML, and what to do, for a person who has never read its
// grammar; behind it what the parser said of that place: line and column from 1. Pure; one line,
// whatever the text holds.
std::string SyntaxWords(std::string_view text, uint32_t line, uint32_t column,
                        std::string_view parser);

}  // namespace rum

#endif  // RUM_STATE_SYNTAX_WORDS_H_
