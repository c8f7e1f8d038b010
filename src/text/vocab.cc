// Slots hold id + 1 and are found by the text's hash; the table doubles when half full. GPT-2's
// byte map is computed from its rule.
#include "text/vocab.h"

#include <algorithm>

#include "base/check.h"
#include "base/hash.h"
#include "text/unicode.h"

namespace dure {
namespace {

// The printable Latin-1 bytes stand for themselves; the rest take U+0100 and up, in order.
struct ByteMap {
  std::array<char32_t, 256> to_char{};
  std::array<int16_t, 512> to_byte{};
  ByteMap() {
    to_byte.fill(-1);
    char32_t next = 0x100;
    for (int b = 0; b < 256; ++b) {
      const bool printable = (b >= '!' && b <= '~') || (b >= 0xA1 && b <= 0xAC) || b >= 0xAE;
      to_char[static_cast<size_t>(b)] = printable ? static_cast<char32_t>(b) : next++;
      to_byte[to_char[static_cast<size_t>(b)]] = static_cast<int16_t>(b);
    }
  }
};

const ByteMap& byte_map() {
  static const ByteMap map;
  return map;
}

}  // namespace

char32_t byte_char(uint8_t byte) { return byte_map().to_char[byte]; }

int byte_of(char32_t code) { return code < 512 ? byte_map().to_byte[code] : -1; }

std::string byte_level_text(std::string_view bytes) {
  std::string out;
  out.reserve(bytes.size() * 2);
  for (const char b : bytes) append_utf8(out, byte_char(static_cast<uint8_t>(b)));
  return out;
}

std::string byte_level_bytes(std::string_view text) {
  std::string out;
  for (size_t i = 0; i < text.size();) {
    int length = 0;
    const int byte = byte_of(decode_utf8(text.data() + i, length));
    if (byte < 0) return std::string(text);
    out += static_cast<char>(byte);
    i += static_cast<size_t>(length);
  }
  return out;
}

void Vocab::reserve(int64_t token_count, int64_t text_bytes) {
  tokens_.reserve(static_cast<size_t>(token_count));
  texts_.reserve(static_cast<size_t>(text_bytes));
  bytes_.reserve(static_cast<size_t>(text_bytes));
  size_t slot_count = 16;
  while (slot_count < 2 * static_cast<size_t>(token_count)) slot_count *= 2;
  if (slot_count > slots_.size()) grow(slot_count);
}

size_t Vocab::slot_of(std::string_view text) const {
  const size_t mask = slots_.size() - 1;
  size_t slot = xxh64(text) & mask;
  while (slots_[slot] != 0 && this->text(slots_[slot] - 1) != text) slot = (slot + 1) & mask;
  return slot;
}

void Vocab::grow(size_t slot_count) {
  slots_.assign(slot_count, 0);
  for (int64_t id = 0; id < id_count(); ++id) {
    if (has(id)) slots_[slot_of(text(id))] = static_cast<int32_t>(id) + 1;
  }
}

bool Vocab::add(int32_t id, std::string_view text) {
  DURE_CHECK(id >= 0);
  if (2 * static_cast<size_t>(token_count_ + 1) > slots_.size())
    grow(std::max<size_t>(16, slots_.size() * 2));
  const size_t slot = slot_of(text);
  if (slots_[slot] != 0 || has(id)) return false;
  if (id >= id_count()) tokens_.resize(static_cast<size_t>(id) + 1);
  const std::string bytes = byte_level_bytes(text);
  Token& token = tokens_[static_cast<size_t>(id)];
  token.text_offset = static_cast<uint32_t>(texts_.size());
  token.text_length = static_cast<uint32_t>(text.size());
  token.bytes_offset = static_cast<uint32_t>(bytes_.size());
  token.bytes_length = static_cast<uint32_t>(bytes.size());
  texts_ += text;
  bytes_ += bytes;
  DURE_CHECK(texts_.size() < kAbsent);
  slots_[slot] = id + 1;
  ++token_count_;
  return true;
}

std::string_view Vocab::text(int64_t id) const {
  if (!has(id)) return {};
  const Token& token = tokens_[static_cast<size_t>(id)];
  return std::string_view(texts_).substr(token.text_offset, token.text_length);
}

std::string_view Vocab::bytes(int64_t id) const {
  if (!has(id)) return {};
  const Token& token = tokens_[static_cast<size_t>(id)];
  return std::string_view(bytes_).substr(token.bytes_offset, token.bytes_length);
}

std::optional<int32_t> Vocab::find(std::string_view text) const {
  if (slots_.empty()) return std::nullopt;
  const int32_t found = slots_[slot_of(text)];
  return found == 0 ? std::nullopt : std::optional<int32_t>(found - 1);
}

}  // namespace dure
