// A walk with a stack of open brackets; nothing is kept of the values.
#include "grade/instructions/json_text.h"

namespace dure::instructions {
namespace {

class JsonWalk {
 public:
  explicit JsonWalk(CharsView text) : text_(text) {}
  bool whole() { return value_and_all_within() && open_.empty() && at_ == text_.size(); }

 private:
  bool at(char32_t c) const { return at_ < text_.size() && text_[at_] == c; }
  bool take(char32_t c) { return at(c) && ++at_ > 0; }
  void blank() {
    while (at_ < text_.size() && contains(U" \t\n\r", text_[at_])) ++at_;
  }
  bool word(CharsView word) {
    if (!text_.substr(at_).starts_with(word)) return false;
    at_ += word.size();
    return true;
  }
  bool digits() {
    const size_t begin = at_;
    while (at_ < text_.size() && text_[at_] >= U'0' && text_[at_] <= U'9') ++at_;
    return at_ > begin;
  }
  bool number();
  bool string();
  bool scalar();
  bool key() { return string() && (blank(), take(U':')) && (blank(), true); }
  bool open();
  bool value_and_all_within();

  CharsView text_;
  size_t at_ = 0;
  Chars open_;  // of { and [
};

bool JsonWalk::number() {
  if (take(U'-') && word(U"Infinity")) return true;
  if (!take(U'0') && !digits()) return false;
  if (at(U'.')) {
    ++at_;
    if (!digits()) return false;
  }
  if (at(U'e') || at(U'E')) {
    ++at_;
    if (at(U'+') || at(U'-')) ++at_;
    return digits();
  }
  return true;
}

bool JsonWalk::string() {
  if (!take(U'"')) return false;
  for (; at_ < text_.size() && text_[at_] >= 0x20; ++at_) {
    if (take(U'"')) return true;
    if (!at(U'\\')) continue;
    if (++at_ >= text_.size()) return false;
    if (contains(U"\"\\/bfnrt", text_[at_])) continue;
    if (!at(U'u') || at_ + 4 >= text_.size()) return false;
    for (int i = 0; i < 4; ++i)
      if (!contains(U"0123456789abcdefABCDEF", text_[++at_])) return false;
  }
  return false;
}

bool JsonWalk::scalar() {
  if (at(U'"')) return string();
  return word(U"true") || word(U"false") || word(U"null") || word(U"NaN") || word(U"Infinity") ||
         number();
}

// Opens what begins here, down to its first value; false where it cannot be.
bool JsonWalk::open() {
  while (at(U'{') || at(U'[')) {
    open_ += text_[at_++];
    if (open_.size() > kJsonDepthMax) return false;
    blank();
    if (at(open_.back() == U'{' ? U'}' : U']')) return true;
    if (open_.back() == U'{' && !key()) return false;
  }
  return scalar();
}

bool JsonWalk::value_and_all_within() {
  blank();
  if (!open()) return false;
  while (true) {
    blank();
    while (!open_.empty() && take(open_.back() == U'{' ? U'}' : U']')) {
      open_.pop_back();
      blank();
    }
    if (open_.empty()) return true;
    if (!take(U',')) return false;
    blank();
    if (open_.back() == U'{' && !key()) return false;
    if (!open()) return false;
  }
}

}  // namespace

bool is_json_text(CharsView text) { return JsonWalk(text).whole(); }

}  // namespace dure::instructions
