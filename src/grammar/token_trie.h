// grammar/token_trie.h: the byte strings of a vocabulary as a tree, laid out in the order of a
// walk.
//
// A node's children follow it; `next` is the first node outside its subtree, so a walk that dies
// jumps there. Special tokens begin with kSpecialMark, a byte that no text has: a grammar lets one
// through only where it names it. Not here: which tokens are allowed (mask_cache.h).
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace dure {

class Tokenizer;

constexpr char kSpecialMark = '\xFF';

struct TokenBytes {
  std::string_view bytes;
  int32_t id = 0;
};

class TokenTrie {
 public:
  struct Node {
    uint32_t next = 0;          // in nodes()
    uint32_t tokens_begin = 0;  // in tokens(); its own end where the following node's begin
    uint16_t depth = 0;         // bytes up to and with this node
    uint8_t byte = 0;
  };
  TokenTrie() = default;
  // Empty strings are left out. Strings are copied; beyond 65,535 bytes they are left out, too.
  explicit TokenTrie(std::vector<TokenBytes> tokens);
  TokenTrie(TokenTrie&&) = default;
  TokenTrie& operator=(TokenTrie&&) = default;

  std::span<const Node> nodes() const {
    return {nodes_.data(), tokens_.empty() ? 0 : nodes_.size() - 1};
  }
  bool empty() const { return tokens_.empty(); }
  // Tokens that end at node i.
  std::span<const TokenBytes> tokens_at(size_t i) const {
    return tokens_between(nodes_[i].tokens_begin, nodes_[i + 1].tokens_begin);
  }
  // Tokens that go on below node i.
  std::span<const TokenBytes> tokens_below(size_t i) const {
    return tokens_between(nodes_[i + 1].tokens_begin, nodes_[nodes_[i].next].tokens_begin);
  }
  std::span<const TokenBytes> tokens() const { return tokens_; }
  int64_t depth_max() const { return depth_max_; }
  int64_t size_bytes() const;

 private:
  std::span<const TokenBytes> tokens_between(uint32_t begin, uint32_t end) const {
    return std::span(tokens_).subspan(begin, end - begin);
  }
  void add(const TokenBytes& token, std::vector<uint32_t>& path);

  std::vector<char> bytes_;         // Moves without moving what the views see.
  std::vector<TokenBytes> tokens_;  // by their bytes
  std::vector<Node> nodes_;         // and one behind the last
  int64_t depth_max_ = 0;
};

// What each token of a model writes, ids from 0 to below `size`. Ids without bytes are never
// allowed.
class TokenVocabulary {
 public:
  // The tokenizer's; special tokens are marked. `size`: the model's, at least the tokenizer's.
  TokenVocabulary(const Tokenizer& tokenizer, int64_t size);
  TokenVocabulary(std::vector<TokenBytes> tokens, int64_t size);

  int64_t size() const { return size_; }
  int64_t mask_words() const { return (size_ + 63) / 64; }
  const TokenTrie& trie() const { return trie_; }
  std::string_view bytes(int32_t id) const { return bytes_[static_cast<size_t>(id)]; }

 private:
  int64_t size_ = 0;
  TokenTrie trie_;
  std::vector<std::string_view> bytes_;  // by id; views of the trie's
};

}  // namespace dure
