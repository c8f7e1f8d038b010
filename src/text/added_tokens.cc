// The trie is one vector of nodes, children as linked siblings, with roots by the first byte: other
// text is only skimmed. A token's flags are applied to a match once found.
#include "text/added_tokens.h"

#include <algorithm>

#include "base/check.h"
#include "text/unicode.h"

namespace dure {
namespace {

bool word_before(const CharTable& table, std::string_view text, size_t at) {
  return at > 0 && (table.bits_at(text.data() + utf8_start(text, at - 1)) & kCharWord);
}

bool word_after(const CharTable& table, std::string_view text, size_t at) {
  return at < text.size() && (table.bits_at(text.data() + at) & kCharWord);
}

size_t spaces_begin(const CharTable& table, std::string_view text, size_t at) {
  while (at > 0) {
    const size_t previous = utf8_start(text, at - 1);
    if (!(table.bits_at(text.data() + previous) & kCharSpace)) break;
    at = previous;
  }
  return at;
}

size_t spaces_end(const CharTable& table, std::string_view text, size_t at) {
  while (at < text.size()) {
    const Char c = table.at(text.data() + at);
    if (!(c.bits & kCharSpace)) break;
    at += static_cast<size_t>(c.length);
  }
  return at;
}

}  // namespace

AddedTokenFinder::AddedTokenFinder(std::vector<AddedToken> tokens,
                                   const std::vector<std::string>& contents)
    : tokens_(std::move(tokens)) {
  DURE_CHECK_EQ(tokens_.size(), contents.size());
  roots_.fill(-1);
  for (size_t i = 0; i < tokens_.size(); ++i) insert(contents[i], static_cast<int32_t>(i));
}

void AddedTokenFinder::insert(std::string_view content, int32_t token) {
  if (content.empty()) return;
  int32_t node = roots_[static_cast<uint8_t>(content[0])];
  if (node < 0) {
    node = roots_[static_cast<uint8_t>(content[0])] = static_cast<int32_t>(nodes_.size());
    nodes_.push_back({.byte = static_cast<uint8_t>(content[0])});
  }
  for (const char c : content.substr(1)) {
    int32_t child = child_of(node, static_cast<uint8_t>(c));
    if (child < 0) {
      child = static_cast<int32_t>(nodes_.size());
      nodes_.push_back(
          {.sibling = nodes_[static_cast<size_t>(node)].child, .byte = static_cast<uint8_t>(c)});
      nodes_[static_cast<size_t>(node)].child = child;
    }
    node = child;
  }
  if (nodes_[static_cast<size_t>(node)].token < 0) nodes_[static_cast<size_t>(node)].token = token;
}

int32_t AddedTokenFinder::child_of(int32_t node, uint8_t byte) const {
  int32_t child = nodes_[static_cast<size_t>(node)].child;
  while (child >= 0 && nodes_[static_cast<size_t>(child)].byte != byte)
    child = nodes_[static_cast<size_t>(child)].sibling;
  return child;
}

AddedTokenFinder::Match AddedTokenFinder::longest_at(std::string_view text) const {
  Match best;
  int32_t node = roots_[static_cast<uint8_t>(text[0])];
  for (size_t length = 1; node >= 0; ++length) {
    if (nodes_[static_cast<size_t>(node)].token >= 0)
      best = {length, nodes_[static_cast<size_t>(node)].token};
    if (length == text.size()) break;
    node = child_of(node, static_cast<uint8_t>(text[length]));
  }
  return best;
}

void AddedTokenFinder::split(std::string_view text, bool special_as_text,
                             std::vector<TextSpan>& spans) const {
  spans.clear();
  const CharTable& table = CharTable::get();
  size_t done = 0;
  for (size_t at = 0; at < text.size() && !tokens_.empty(); ++at) {
    if (roots_[static_cast<uint8_t>(text[at])] < 0) continue;
    const Match match = longest_at(text.substr(at));
    if (match.token < 0) continue;
    // Even a match that is then refused has used up its text.
    size_t begin = at, end = at + match.length;
    at = end - 1;
    const AddedToken& token = tokens_[static_cast<size_t>(match.token)];
    if (token.special && special_as_text) continue;
    if (token.single_word && (word_before(table, text, begin) || word_after(table, text, end)))
      continue;
    if (token.lstrip) begin = std::max(spaces_begin(table, text, begin), done);
    if (token.rstrip) end = spaces_end(table, text, end);
    if (begin > done) spans.push_back({done, begin, -1});
    spans.push_back({begin, end, token.id});
    done = end;
  }
  if (done < text.size()) spans.push_back({done, text.size(), -1});
}

}  // namespace dure
