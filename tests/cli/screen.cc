#include "tests/cli/screen.h"

#include <algorithm>
#include <cstdlib>
#include <map>

#include "cli/terminal_text.h"

namespace rum {

void Screen::Write(const std::string& text) {
  for (size_t i = 0; i < text.size();) {
    if (text[i] == '\033') {
      const size_t end = text.find_first_not_of("0123456789;?", i + 2);
      if (end == std::string::npos) return;
      Obey(text.substr(i + 2, end - i - 2), text[end]);
      i = end + 1;
    } else if (text[i] == '\n') {
      LineFeed();
      column_ = 0;  // as the driver of a terminal has it
      ++i;
    } else if (text[i] == '\r') {
      column_ = 0;
      ++i;
    } else {
      size_t end = i + 1;
      while (end < text.size() && (text[end] & 0xC0) == 0x80) ++end;
      Put(text.substr(i, end - i));
      i = end;
    }
  }
}

std::vector<Screen::Cell>& Screen::Row(size_t row) {
  if (rows_.size() <= row) rows_.resize(row + 1);
  return rows_[row];
}

void Screen::LineFeed() {
  ++row_;
  Row(row_);
  if (row_ - top_ >= height_) top_ = row_ - height_ + 1;
}

void Screen::Put(const std::string& character) {
  const size_t wide = DisplayWidth(character);
  if (column_ + wide > width_) {
    LineFeed();
    column_ = 0;
  }
  std::vector<Cell>& row = Row(row_);
  if (row.size() < column_ + wide) row.resize(column_ + wide);
  row[column_] = {character, look_};
  for (size_t i = 1; i < wide; ++i) row[column_ + i] = {"", look_};
  column_ += wide;
}

void Screen::Obey(const std::string& parameters, char command) {
  const size_t number = parameters.empty() ? 1 : std::max(1, std::atoi(parameters.c_str()));
  switch (command) {
    case 'm':
      look_ = parameters == "0" ? "" : parameters;
      return;
    case 'A':
      row_ = row_ - std::min(number, row_ - top_);
      return;
    case 'H':
      row_ = top_;
      column_ = 0;
      return;
    case 'K':
      if (Row(row_).size() > column_) rows_[row_].resize(column_);
      return;
    case 'J':
      if (Row(row_).size() > column_) rows_[row_].resize(column_);
      rows_.resize(row_ + 1);
      return;
    default:
      unknown_.push_back(parameters + command);
  }
}

std::string Screen::Text() const {
  std::string text;
  for (const std::vector<Cell>& row : rows_) {
    std::string line;
    for (const Cell& cell : row) line += cell.character;
    line.erase(line.find_last_not_of(' ') + 1);
    text += line + "\n";
  }
  const size_t end = text.find_last_not_of('\n');
  return end == std::string::npos ? "" : text.substr(0, end + 2);
}

std::string Screen::Markup() const {
  static const auto* const looks = new std::map<std::string, std::string>{
      {"2", "alpha=\"55%\""},           {"31", "foreground=\"#e5484d\""},
      {"32", "foreground=\"#30a46c\""}, {"33", "foreground=\"#d9a514\""},
      {"36", "foreground=\"#0797b9\""}, {"1", "weight=\"bold\""}};
  std::string text;
  for (const std::vector<Cell>& row : rows_) {
    for (const Cell& cell : row) {
      std::string shown = cell.character == "<"   ? "&lt;"
                          : cell.character == "&" ? "&amp;"
                                                  : cell.character;
      const auto look = looks->find(cell.look);
      text += look == looks->end() ? shown : "<span " + look->second + ">" + shown + "</span>";
    }
    text += "\n";
  }
  return text;
}

}  // namespace rum
