// text/added_tokens.h: tokens found in the text before anything else looks at it (special tokens,
// user's words).
//
// Owns their flags and the trie that finds them: leftmost first, longest of those, each byte looked
// at once where no token begins. Flags mean what the `tokenizers` library makes of them. Not here:
// what happens between them (tokenizer.h).
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace dure {

struct AddedToken {
  int32_t id = 0;
  std::string content;
  bool single_word = false;  // Only where neither neighbour is a word character.
  bool lstrip = false;       // Takes the white space before it,
  bool rstrip = false;       // and after it.
  // Looked for after normalisation (its content normalised too), not in the raw text.
  bool normalized = true;
  // Left out of decoded text on demand; found only where special tokens are allowed.
  bool special = false;
  bool operator==(const AddedToken&) const = default;
};

// A stretch of text: an added token, or (id -1) text between two.
struct TextSpan {
  size_t begin = 0, end = 0;
  int32_t id = -1;
};

class AddedTokenFinder {
 public:
  AddedTokenFinder() = default;
  // `contents[i]` is what to look for for tokens[i]; empty ones are never found.
  AddedTokenFinder(std::vector<AddedToken> tokens, const std::vector<std::string>& contents);

  bool empty() const { return tokens_.empty(); }
  // Replaces `spans` by the stretches of `text`. With `special_as_text`, special tokens stay text.
  void split(std::string_view text, bool special_as_text, std::vector<TextSpan>& spans) const;

 private:
  struct Node {
    int32_t child = -1, sibling = -1, token = -1;
    uint8_t byte = 0;
  };
  struct Match {
    size_t length = 0;
    int32_t token = -1;
  };
  void insert(std::string_view content, int32_t token);
  int32_t child_of(int32_t node, uint8_t byte) const;
  Match longest_at(std::string_view text) const;

  std::vector<AddedToken> tokens_;
  std::vector<Node> nodes_;
  std::array<int32_t, 256> roots_{};  // First byte -> node, -1 where no token begins with it.
};

}  // namespace dure
