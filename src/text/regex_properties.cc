// Tables of names. Scripts are left to PCRE2, asked for by `sc:`, since a bare name means script
// extensions to it and the script itself to Oniguruma.
#include "text/regex_properties.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include <algorithm>
#include <array>

namespace dure {
namespace {

constexpr const char* kSpaces =
    "\\t-\\r "
    "\\x{85}\\x{a0}\\x{1680}\\x{2000}-\\x{200a}\\x{2028}\\x{2029}\\x{202f}\\x{205f}\\x{3000}";
constexpr const char* kNotSpaces =
    "\\x{0}-\\x{8}\\x{e}-\\x{1f}!-\\x{84}\\x{86}-\\x{9f}\\x{a1}-\\x{167f}\\x{1681}-\\x{1fff}"
    "\\x{200b}-\\x{2027}\\x{202a}-\\x{202e}\\x{2030}-\\x{205e}\\x{2060}-\\x{2fff}\\x{3001}-\\x{"
    "10ffff}";
constexpr const char* kWord = "\\p{Alphabetic}\\p{M}\\p{Nd}\\p{Pc}";
// Oniguruma's own table of Latin-1, which \w and \p{Word} use outside classes, has these too.
constexpr const char* kWordAndPowers =
    "\\p{Alphabetic}\\p{M}\\p{Nd}\\p{Pc}\\x{b2}\\x{b3}\\x{b9}\\x{bc}-\\x{be}";
constexpr const char* kHex = "0-9A-Fa-f";

struct Category {
  std::string_view short_name, long_name;
};
constexpr Category kCategories[] = {
    {"L", "letter"},
    {"Lu", "uppercaseletter"},
    {"Ll", "lowercaseletter"},
    {"Lt", "titlecaseletter"},
    {"L&", "casedletter"},
    {"L&", "lc"},
    {"Lm", "modifierletter"},
    {"Lo", "otherletter"},
    {"M", "mark"},
    {"M", "combiningmark"},
    {"Mn", "nonspacingmark"},
    {"Mc", "spacingmark"},
    {"Me", "enclosingmark"},
    {"N", "number"},
    {"Nd", "decimalnumber"},
    {"Nl", "letternumber"},
    {"No", "othernumber"},
    {"P", "punctuation"},
    {"Pc", "connectorpunctuation"},
    {"Pd", "dashpunctuation"},
    {"Ps", "openpunctuation"},
    {"Pe", "closepunctuation"},
    {"Pi", "initialpunctuation"},
    {"Pf", "finalpunctuation"},
    {"Po", "otherpunctuation"},
    {"S", "symbol"},
    {"Sm", "mathsymbol"},
    {"Sc", "currencysymbol"},
    {"Sk", "modifiersymbol"},
    {"So", "othersymbol"},
    {"Z", "separator"},
    {"Zs", "spaceseparator"},
    {"Zl", "lineseparator"},
    {"Zp", "paragraphseparator"},
    {"C", "other"},
    {"Cc", "control"},
    {"Cf", "format"},
    {"Cn", "unassigned"},
    {"Co", "privateuse"},
};

constexpr std::string_view kBinary[] = {"alphabetic",
                                        "uppercase",
                                        "lowercase",
                                        "whitespace",
                                        "emoji",
                                        "emojipresentation",
                                        "emojimodifier",
                                        "emojimodifierbase",
                                        "emojicomponent",
                                        "extendedpictographic",
                                        "ideographic",
                                        "unifiedideograph",
                                        "hexdigit",
                                        "asciihexdigit",
                                        "dash",
                                        "diacritic",
                                        "extender",
                                        "math",
                                        "cased",
                                        "caseignorable",
                                        "defaultignorablecodepoint",
                                        "idstart",
                                        "idcontinue",
                                        "xidstart",
                                        "xidcontinue",
                                        "quotationmark",
                                        "terminalpunctuation",
                                        "sentenceterminal",
                                        "variationselector",
                                        "noncharactercodepoint",
                                        "patternwhitespace",
                                        "patternsyntax",
                                        "joincontrol",
                                        "radical",
                                        "regionalindicator"};

// Names are compared without case, spaces, hyphens and underscores.
std::string plain_name(std::string_view name) {
  std::string out;
  for (const char c : name) {
    if (c == ' ' || c == '-' || c == '_') continue;
    out += c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c;
  }
  return out;
}

CharacterSet property(std::string_view name, bool of_case, bool letters) {
  return {.items = "\\p{" + std::string(name) + "}", .of_case = of_case, .letters = letters};
}

bool is_script(const std::string& name) {
  if (name.empty() || !std::all_of(name.begin(), name.end(), [](char c) {
        return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
      }))
    return false;
  const std::string pattern = "\\p{sc:" + name + "}";
  int error = 0;
  PCRE2_SIZE offset = 0;
  pcre2_code* code = pcre2_compile(reinterpret_cast<PCRE2_SPTR>(pattern.data()), pattern.size(),
                                   PCRE2_UTF | PCRE2_UCP, &error, &offset, nullptr);
  pcre2_code_free(code);
  return code != nullptr;
}

// What \p{...} and [:...:] name alike.
std::optional<CharacterSet> common_set(std::string_view plain) {
  if (plain == "alnum") return CharacterSet{.items = "\\p{Alphabetic}\\p{Nd}", .letters = true};
  if (plain == "alpha") return property("Alphabetic", false, true);
  if (plain == "blank") return CharacterSet{.items = "\\t\\p{Zs}"};
  if (plain == "cntrl") return property("Cc", false, false);
  if (plain == "digit") return property("Nd", false, false);
  if (plain == "lower") return property("Lowercase", true, true);
  if (plain == "upper") return property("Uppercase", true, true);
  if (plain == "space") return CharacterSet{.items = kSpaces};
  if (plain == "xdigit") return CharacterSet{.items = kHex};
  if (plain == "ascii") return CharacterSet{.items = "\\x{0}-\\x{7f}"};
  return std::nullopt;
}

}  // namespace

std::optional<CharacterSet> property_set(std::string_view name, bool in_class) {
  const std::string plain = plain_name(name);
  if (plain == "any") return CharacterSet{.items = "\\x{0}-\\x{10ffff}", .letters = true};
  if (plain == "assigned") return complement(property("Cn", false, true));
  if (plain == "word")
    return CharacterSet{.items = in_class ? kWord : kWordAndPowers, .letters = true};
  if (plain == "punct") return property("P", false, false);
  if (const auto common = common_set(plain)) return common;
  for (const Category& category : kCategories) {
    if (plain != category.long_name && plain != plain_name(category.short_name)) continue;
    if (plain == "l&") return std::nullopt;
    const bool of_case = category.short_name.size() == 2 && category.short_name[0] == 'L' &&
                         std::string_view("ult&").find(category.short_name[1]) != std::string::npos;
    return property(category.short_name, of_case, category.short_name[0] == 'L');
  }
  if (std::find(std::begin(kBinary), std::end(kBinary), plain) != std::end(kBinary))
    return property(plain, plain.ends_with("case"), true);
  if (is_script(plain)) return property("sc:" + plain, false, true);
  return std::nullopt;
}

std::optional<CharacterSet> posix_set(std::string_view name) {
  if (name == "punct") return CharacterSet{.items = "\\p{P}\\p{S}"};
  if (name == "word") return CharacterSet{.items = kWord, .letters = true};
  return common_set(name);
}

std::optional<CharacterSet> shorthand_set(char letter, bool in_class) {
  switch (letter) {
    case 'w':
      return CharacterSet{.items = in_class ? kWord : kWordAndPowers, .letters = true};
    case 'd':
      return property("Nd", false, false);
    case 's':
      return CharacterSet{.items = kSpaces};
    case 'h':
      return CharacterSet{.items = kHex};
    case 'W':
    case 'D':
    case 'S':
    case 'H':
      return complement(*shorthand_set(static_cast<char>(letter + 32), in_class));
    default:
      return std::nullopt;
  }
}

CharacterSet complement(CharacterSet set) {
  set.letters = true;
  // One property has a complement of its own, which may stand in a class beside others.
  const bool single = set.items.starts_with("\\p{") && set.items.find('}') == set.items.size() - 1;
  if (single) {
    set.items[1] = 'P';
  } else if (set.items == kSpaces) {
    set.items = kNotSpaces;
  } else {
    set.negated = !set.negated;
  }
  return set;
}

std::string one_of(const CharacterSet& set) {
  const bool single = (set.items.starts_with("\\p{") || set.items.starts_with("\\P{")) &&
                      set.items.find('}') == set.items.size() - 1;
  if (single && !set.negated) return set.items;
  return (set.negated ? "[^" : "[") + set.items + "]";
}

}  // namespace dure
