#include "tests/cli/screen.h"

#include <algorithm>
#include <cstdlib>
#include <map>
#include <utility>

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
    goes_on_.insert(row_);
    LineFeed();
    column_ = 0;
  }
  std::vector<Cell>& row = Row(row_);
  if (row.size() < column_ + wide) row.resize(column_ + wide);
  row[column_] = {character, look_};
  for (size_t i = 1; i < wide; ++i) row[column_ + i] = {"", look_};
  column_ += wide;
}

void Screen::Cut(size_t width) {
  width_ = width;
  for (size_t i = top_; i < rows_.size(); ++i) rows_[i].resize(std::min(rows_[i].size(), width));
  column_ = std::min(column_, width - 1);
}

void Screen::Reflow(size_t width) {
  width_ = width;
  const std::vector<std::vector<Cell>> before = std::exchange(rows_, {});
  const std::set<size_t> went_on = std::exchange(goes_on_, {});
  const size_t cursor = row_;  // at the beginning of a line, as rum leaves it
  std::vector<Cell> line;
  for (size_t i = 0; i < before.size(); ++i) {
    if (i == cursor) row_ = rows_.size();
    line.insert(line.end(), before[i].begin(), before[i].end());
    if (went_on.count(i) > 0) continue;
    for (; line.size() > width; line.erase(line.begin(), line.begin() + static_cast<long>(width))) {
      goes_on_.insert(rows_.size());
      rows_.emplace_back(line.begin(), line.begin() + static_cast<long>(width));
    }
    rows_.push_back(std::exchange(line, {}));
  }
  top_ = std::min(row_, rows_.size() - std::min(rows_.size(), height_));
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
