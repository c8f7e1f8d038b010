// utf8proc's data, with tables for what must differ: newcomers of Unicode 15.1 and 16, alphabetic
// symbols, combining classes as of Unicode 9.
#include "text/unicode.h"

#include <simdjson.h>
#include <utf8proc.h>

#include <algorithm>
#include <iterator>

namespace dure {
namespace {

struct CodeRange {
  char32_t first, last;
};

bool in_ranges(const CodeRange* begin, const CodeRange* end, char32_t code) {
  const CodeRange* found = std::upper_bound(
      begin, end, code, [](char32_t c, const CodeRange& r) { return c < r.first; });
  return found != begin && code <= found[-1].last;
}

template <size_t N>
bool in_ranges(const CodeRange (&ranges)[N], char32_t code) {
  return in_ranges(ranges, ranges + N, code);
}

// Assigned in Unicode 15.1 and 16.0 (UnicodeData.txt): utf8proc 2.8 calls them unassigned.
constexpr CodeRange kNewLetters[] = {
    {0x1C89, 0x1C8A},   {0xA7CB, 0xA7CD},   {0xA7DA, 0xA7DC},   {0x105C0, 0x105F3},
    {0x10D4A, 0x10D65}, {0x10D6F, 0x10D85}, {0x10EC2, 0x10EC4}, {0x11380, 0x11389},
    {0x1138B, 0x1138B}, {0x1138E, 0x1138E}, {0x11390, 0x113B5}, {0x113B7, 0x113B7},
    {0x113D1, 0x113D1}, {0x113D3, 0x113D3}, {0x11BC0, 0x11BE0}, {0x13460, 0x143FA},
    {0x16100, 0x1611D}, {0x16D40, 0x16D6C}, {0x18CFF, 0x18CFF}, {0x1E5D0, 0x1E5ED},
    {0x1E5F0, 0x1E5F0}, {0x2EBF0, 0x2EE5D}};
constexpr CodeRange kNewMarks[] = {{0x897, 0x897},     {0x10D69, 0x10D6D}, {0x10EFC, 0x10EFC},
                                   {0x113B8, 0x113C0}, {0x113C2, 0x113C2}, {0x113C5, 0x113C5},
                                   {0x113C7, 0x113CA}, {0x113CC, 0x113D0}, {0x113D2, 0x113D2},
                                   {0x113E1, 0x113E2}, {0x11F5A, 0x11F5A}, {0x1611E, 0x1612F},
                                   {0x1E5EE, 0x1E5EF}};
constexpr CodeRange kNewDigits[] = {{0x10D40, 0x10D49}, {0x116D0, 0x116E3}, {0x11BF0, 0x11BF9},
                                    {0x16130, 0x16139}, {0x16D70, 0x16D79}, {0x1CCF0, 0x1CCF9},
                                    {0x1E5F1, 0x1E5FA}};

// Symbols that are Other_Alphabetic: circled and squared Latin letters.
constexpr CodeRange kAlphabeticSymbols[] = {
    {0x24B6, 0x24E9}, {0x1F130, 0x1F149}, {0x1F150, 0x1F169}, {0x1F170, 0x1F189}};

// Given a non-zero combining class by Unicode 10 to 15.
constexpr CodeRange kLateCombining[] = {
    {0x7FD, 0x7FD},     {0x898, 0x89F},     {0x8CA, 0x8D3},     {0x9FE, 0x9FE},
    {0xC3C, 0xC3C},     {0xD3B, 0xD3C},     {0xEBA, 0xEBA},     {0x1715, 0x1715},
    {0x1ABF, 0x1ACE},   {0x1DF6, 0x1DFA},   {0xA82C, 0xA82C},   {0x10D24, 0x10D27},
    {0x10EAB, 0x10EAC}, {0x10EFD, 0x10EFF}, {0x10F46, 0x10F50}, {0x10F82, 0x10F85},
    {0x11070, 0x11070}, {0x1133B, 0x1133B}, {0x1145E, 0x1145E}, {0x11839, 0x1183A},
    {0x1193D, 0x1193E}, {0x11943, 0x11943}, {0x119E0, 0x119E0}, {0x11A34, 0x11A34},
    {0x11A47, 0x11A47}, {0x11A99, 0x11A99}, {0x11D42, 0x11D42}, {0x11D44, 0x11D45},
    {0x11D97, 0x11D97}, {0x11F41, 0x11F42}, {0x16FF0, 0x16FF1}, {0x1E08F, 0x1E08F},
    {0x1E130, 0x1E136}, {0x1E2AE, 0x1E2AE}, {0x1E2EC, 0x1E2EF}, {0x1E4EC, 0x1E4EF}};

// Of Unicode 13; the only one after 9 that utf8proc 2.8 knows.
constexpr char32_t kLateComposite = 0x11938;

bool is_white_space(char32_t c) {
  return (c >= 0x9 && c <= 0xD) || c == 0x20 || c == 0x85 || c == 0xA0 || c == 0x1680 ||
         (c >= 0x2000 && c <= 0x200A) || c == 0x2028 || c == 0x2029 || c == 0x202F || c == 0x205F ||
         c == 0x3000;
}

uint8_t category_bits(char32_t code) {
  switch (utf8proc_category(static_cast<utf8proc_int32_t>(code))) {
    case UTF8PROC_CATEGORY_LU:
    case UTF8PROC_CATEGORY_LL:
    case UTF8PROC_CATEGORY_LT:
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_LO:
      return kCharLetter | kCharWord;
    case UTF8PROC_CATEGORY_MN:
    case UTF8PROC_CATEGORY_MC:
    case UTF8PROC_CATEGORY_ME:
      return kCharMark | kCharWord;
    case UTF8PROC_CATEGORY_ND:
    case UTF8PROC_CATEGORY_NL:
      return kCharNumber | kCharWord;
    case UTF8PROC_CATEGORY_NO:
      return kCharNumber;
    case UTF8PROC_CATEGORY_PC:
      return kCharWord;
    case UTF8PROC_CATEGORY_SO:
      return in_ranges(kAlphabeticSymbols, code) ? kCharWord : 0;
    case UTF8PROC_CATEGORY_CF:
      return code == 0x200C || code == 0x200D ? kCharWord : 0;
    default:
      return 0;
  }
}

uint8_t class_bits(char32_t code) {
  if (is_white_space(code)) return kCharSpace;
  return category_bits(code);
}

void add_bits(uint8_t* table, const CodeRange& range, uint8_t bits) {
  for (char32_t code = range.first; code <= range.last; ++code) table[code] = bits;
}

void mark_nfc_unsafe(uint8_t* table, char32_t count) {
  for (char32_t code = 0x80; code < count; ++code) {
    if (code >= 0xAC00 && code <= 0xD7A3)
      continue;  // Hangul syllables decompose and always come back.
    if (combining_class(code) != 0) table[code] |= kCharNfcUnsafe;
    const utf8proc_property_t* property =
        utf8proc_get_property(static_cast<utf8proc_int32_t>(code));
    if (property->decomp_seqindex == UINT16_MAX || property->decomp_type != 0) continue;
    char32_t parts[kDecompositionMax];
    const int length = canonical_decomposition(code, parts);
    if (!is_primary_composite(code)) table[code] |= kCharNfcUnsafe;
    // The last part may join to its left; so may the whole, where its first part does (never in
    // practice, but cheap).
    if (length > 1) table[parts[length - 1]] |= kCharNfcUnsafe;
    if (combining_class(parts[0]) != 0) table[code] |= kCharNfcUnsafe;
  }
  add_bits(table, {0x1161, 0x1175}, table[0x1161] | kCharNfcUnsafe);  // Hangul vowels
  add_bits(table, {0x11A8, 0x11C2},
           table[0x11A8] | kCharNfcUnsafe);  // and trailing consonants join to their left.
}

}  // namespace

CharTable::CharTable() : flat_(std::make_unique<uint8_t[]>(kFlatCount)) {
  for (char32_t code = 0; code < kFlatCount; ++code) flat_[code] = class_bits(code);
  for (const CodeRange& range : kNewLetters) add_bits(flat_.get(), range, kCharLetter | kCharWord);
  for (const CodeRange& range : kNewMarks) add_bits(flat_.get(), range, kCharMark | kCharWord);
  for (const CodeRange& range : kNewDigits) add_bits(flat_.get(), range, kCharNumber | kCharWord);
  mark_nfc_unsafe(flat_.get(), kFlatCount);
}

const CharTable& CharTable::get() {
  static const CharTable table;
  return table;
}

uint8_t CharTable::high_bits(char32_t code) { return class_bits(code); }

uint8_t combining_class(char32_t code) {
  const uint8_t value = static_cast<uint8_t>(
      utf8proc_get_property(static_cast<utf8proc_int32_t>(code))->combining_class);
  return value != 0 && in_ranges(kLateCombining, code) ? 0 : value;
}

int canonical_decomposition(char32_t code, char32_t (&out)[kDecompositionMax]) {
  if (code == kLateComposite) {
    out[0] = code;
    return 1;
  }
  utf8proc_int32_t parts[kDecompositionMax];
  int last_bound_class = 0;
  const int length = static_cast<int>(
      utf8proc_decompose_char(static_cast<utf8proc_int32_t>(code), parts, kDecompositionMax,
                              UTF8PROC_DECOMPOSE, &last_bound_class));
  std::copy_n(parts, length, out);
  return length;
}

bool is_primary_composite(char32_t code) {
  if (code == kLateComposite) return false;
  utf8proc_int32_t parts[kDecompositionMax + 1];
  int last_bound_class = 0;
  const utf8proc_ssize_t length =
      utf8proc_decompose_char(static_cast<utf8proc_int32_t>(code), parts, kDecompositionMax,
                              UTF8PROC_DECOMPOSE, &last_bound_class);
  if (length < 2) return false;
  return utf8proc_normalize_utf32(
             parts, length, static_cast<utf8proc_option_t>(UTF8PROC_COMPOSE | UTF8PROC_STABLE)) ==
             1 &&
         parts[0] == static_cast<utf8proc_int32_t>(code);
}

bool is_valid_utf8(std::string_view bytes) {
  return simdjson::validate_utf8(bytes.data(), bytes.size());
}

void append_repaired(std::string& out, std::string_view bytes) {
  if (is_valid_utf8(bytes)) return void(out += bytes);
  for (size_t i = 0; i < bytes.size();) {
    const int length = utf8_length(bytes, i);
    if (length > 0) {
      out += bytes.substr(i, static_cast<size_t>(length));
    } else {
      out += "\xEF\xBF\xBD";
    }
    i += static_cast<size_t>(length > 0 ? length : -length);
  }
}

std::string repair_utf8(std::string_view bytes) {
  std::string out;
  out.reserve(bytes.size());
  append_repaired(out, bytes);
  return out;
}

size_t complete_utf8_prefix(std::string_view bytes) {
  // Only the last three bytes can begin a character that is still open.
  for (size_t back = 1; back <= std::min<size_t>(3, bytes.size()); ++back) {
    const size_t i = bytes.size() - back;
    if (is_utf8_tail(bytes[i])) continue;
    const unsigned first = static_cast<unsigned char>(bytes[i]);
    const size_t length = first < 0xC2 || first > 0xF4 ? 1
                          : first < 0xE0               ? 2
                          : first < 0xF0               ? 3
                                                       : 4;
    // Open, if what there is of it is one ill-formed part that reaches the end only because the
    // bytes end.
    return length > back && utf8_length(bytes, i) == -static_cast<int>(back) ? i : bytes.size();
  }
  return bytes.size();
}

}  // namespace dure
