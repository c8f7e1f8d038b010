// Built from sorted strings: each adds the nodes that its forerunner lacks.
#include "grammar/token_trie.h"

#include <algorithm>
#include <string>

#include "base/check.h"
#include "text/tokenizer.h"

namespace dure {
namespace {

constexpr size_t kLengthMax = 65'535;

struct MarkedTokens {
  explicit MarkedTokens(const Tokenizer& tokenizer) {
    const int64_t count = tokenizer.vocab_size();
    marked.reserve(static_cast<size_t>(count));  // Views of its strings are kept.
    for (int64_t id = 0; id < count; ++id) {
      std::string_view bytes = tokenizer.token_bytes(id);
      if (tokenizer.is_special(id) && !bytes.empty()) {
        bytes = marked.emplace_back(kSpecialMark + std::string(bytes));
      } else if (bytes.find(kSpecialMark) != std::string_view::npos) {
        continue;  // The byte itself, which would make a special token out of what follows it.
      }
      tokens.push_back({bytes, static_cast<int32_t>(id)});
    }
  }
  std::vector<std::string> marked;
  std::vector<TokenBytes> tokens;
};

}  // namespace

TokenTrie::TokenTrie(std::vector<TokenBytes> tokens) {
  std::erase_if(tokens,
                [](const TokenBytes& t) { return t.bytes.empty() || t.bytes.size() > kLengthMax; });
  std::sort(tokens.begin(), tokens.end(), [](const TokenBytes& a, const TokenBytes& b) {
    return a.bytes != b.bytes ? a.bytes < b.bytes : a.id < b.id;
  });
  size_t total = 0;
  for (const TokenBytes& t : tokens) total += t.bytes.size();
  bytes_.reserve(total);
  std::vector<uint32_t> path;
  for (const TokenBytes& t : tokens) add(t, path);
  for (const uint32_t open : path) nodes_[open].next = static_cast<uint32_t>(nodes_.size());
  nodes_.push_back({.tokens_begin = static_cast<uint32_t>(tokens_.size())});
}

// `path`: the nodes of the string before, from the top.
void TokenTrie::add(const TokenBytes& token, std::vector<uint32_t>& path) {
  size_t common = 0;
  while (common < path.size() && common < token.bytes.size() &&
         nodes_[path[common]].byte == static_cast<uint8_t>(token.bytes[common]))
    ++common;
  for (; path.size() > common; path.pop_back())
    nodes_[path.back()].next = static_cast<uint32_t>(nodes_.size());
  for (size_t i = common; i < token.bytes.size(); ++i) {
    path.push_back(static_cast<uint32_t>(nodes_.size()));
    nodes_.push_back({.tokens_begin = static_cast<uint32_t>(tokens_.size()),
                      .depth = static_cast<uint16_t>(i + 1),
                      .byte = static_cast<uint8_t>(token.bytes[i])});
  }
  const size_t at = bytes_.size();
  bytes_.insert(bytes_.end(), token.bytes.begin(), token.bytes.end());
  tokens_.push_back({std::string_view(bytes_.data() + at, token.bytes.size()), token.id});
  depth_max_ = std::max(depth_max_, static_cast<int64_t>(token.bytes.size()));
}

int64_t TokenTrie::size_bytes() const {
  return static_cast<int64_t>(bytes_.size() + tokens_.size() * sizeof(TokenBytes) +
                              nodes_.size() * sizeof(Node));
}

TokenVocabulary::TokenVocabulary(std::vector<TokenBytes> tokens, int64_t size)
    : size_(size), trie_(std::move(tokens)) {
  bytes_.resize(static_cast<size_t>(size));
  for (const TokenBytes& t : trie_.tokens()) {
    DURE_CHECK(t.id >= 0 && t.id < size);
    bytes_[static_cast<size_t>(t.id)] = t.bytes;
  }
}

TokenVocabulary::TokenVocabulary(const Tokenizer& tokenizer, int64_t size)
    : TokenVocabulary(MarkedTokens(tokenizer).tokens, size) {}

}  // namespace dure
