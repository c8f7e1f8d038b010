// text/vocab.h: the strings of a vocabulary: id -> text as the file writes it, id -> bytes it
// stands for, text -> id.
//
// Byte-level vocabularies write each byte as one printable character (GPT-2's byte map: 'Ġ' is a
// space). Strings live in two arenas; look-ups are one hash. Not here: merges (bpe.h), added
// tokens' flags (added_tokens.h).
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace dure {

// GPT-2's byte map. byte_char(b) is the code point for byte b; byte_of(code) its inverse, -1 where
// there is none.
char32_t byte_char(uint8_t byte);
int byte_of(char32_t code);
std::string byte_level_text(std::string_view bytes);
// The bytes a token stands for: the byte map undone where every character is in it, else the text
// itself, as the `tokenizers` library decodes.
std::string byte_level_bytes(std::string_view text);

class Vocab {
 public:
  void reserve(int64_t token_count, int64_t text_bytes);
  // False, with nothing changed, where the id or the text is taken already. id >= 0.
  [[nodiscard]] bool add(int32_t id, std::string_view text);

  // The highest id + 1; there may be gaps.
  int64_t id_count() const { return static_cast<int64_t>(tokens_.size()); }
  int64_t token_count() const { return token_count_; }
  bool has(int64_t id) const {
    return id >= 0 && id < id_count() && tokens_[static_cast<size_t>(id)].text_offset != kAbsent;
  }
  std::string_view text(int64_t id) const;  // Empty where there is no such token.
  std::string_view bytes(int64_t id) const;
  std::optional<int32_t> find(std::string_view text) const;

 private:
  static constexpr uint32_t kAbsent = UINT32_MAX;
  struct Token {
    uint32_t text_offset = kAbsent, text_length = 0, bytes_offset = 0, bytes_length = 0;
  };
  void grow(size_t slot_count);
  size_t slot_of(std::string_view text) const;

  std::vector<Token> tokens_;
  std::string texts_, bytes_;
  // Open addressing: id + 1, 0 for empty; a power of two, at most half full.
  std::vector<int32_t> slots_;
  int64_t token_count_ = 0;
};

}  // namespace dure
