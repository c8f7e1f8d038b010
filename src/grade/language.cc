// Letters are counted by script first, as langdetect does: Latin ones count only where they are not
// few beside others.
#include "grade/language.h"

#include <cld2/public/compact_lang_det.h>
#include <cld2/public/encodings.h>

#include <algorithm>
#include <array>
#include <map>

#include "grade/instructions/characters.h"

namespace dure {
namespace {

using instructions::Chars;
using instructions::chars_of;

enum Script {
  kLatin,
  kCyrillic,
  kArabic,
  kDevanagari,
  kHan,
  kKana,
  kHangul,
  kGreek,
  kHebrew,
  kBengali,
  kGurmukhi,
  kGujarati,
  kTamil,
  kTelugu,
  kKannada,
  kMalayalam,
  kThai,
  kOther,
  kScripts
};

struct Block {
  char32_t first, last;
  Script script;
};
constexpr Block kBlocks[] = {
    {0x41, 0x5A, kLatin},      {0x61, 0x7A, kLatin},        {0xAA, 0x24F, kLatin},
    {0x370, 0x3FF, kGreek},    {0x400, 0x52F, kCyrillic},   {0x590, 0x5FF, kHebrew},
    {0x600, 0x77F, kArabic},   {0x900, 0x97F, kDevanagari}, {0x980, 0x9FF, kBengali},
    {0xA00, 0xA7F, kGurmukhi}, {0xA80, 0xAFF, kGujarati},   {0xB80, 0xBFF, kTamil},
    {0xC00, 0xC7F, kTelugu},   {0xC80, 0xCFF, kKannada},    {0xD00, 0xD7F, kMalayalam},
    {0xE00, 0xE7F, kThai},     {0x1100, 0x11FF, kHangul},   {0x1E00, 0x1EFF, kLatin},
    {0x3041, 0x30FF, kKana},   {0x3131, 0x318E, kHangul},   {0x3400, 0x4DBF, kHan},
    {0x4E00, 0x9FFF, kHan},    {0xAC00, 0xD7AF, kHangul},   {0xF900, 0xFAFF, kHan},
    {0xFB50, 0xFDFF, kArabic}, {0xFE70, 0xFEFF, kArabic}};

Script script_of(char32_t c) {
  const auto* block = std::find_if(std::begin(kBlocks), std::end(kBlocks), [c](const Block& block) {
    return c >= block.first && c <= block.last;
  });
  return block == std::end(kBlocks) ? kOther : block->script;
}

// Links say nothing of the language.
Chars without_links(const Chars& text) {
  Chars out;
  for (size_t i = 0; i < text.size();) {
    const auto rest = std::u32string_view(text).substr(i);
    if (rest.starts_with(U"http://") || rest.starts_with(U"https://"))
      while (i < text.size() && !instructions::is_space(text[i])) ++i;
    else
      out += text[i++];
  }
  return out;
}

using Counts = std::array<int64_t, kScripts>;
Counts count_scripts(const Chars& text) {
  Counts counts{};
  for (const char32_t c : text)
    if (c < 0x80 ? script_of(c) == kLatin : instructions::is_letter(c) || script_of(c) != kLatin)
      ++counts[script_of(c)];
  counts[kOther] = 0;
  return counts;
}

// What a script alone says; null where several languages share it.
const char* only_language(Script script) {
  static const std::map<Script, const char*> languages = {
      {kKana, "ja"},    {kHangul, "ko"},   {kGreek, "el"},     {kHebrew, "he"},
      {kBengali, "bn"}, {kGurmukhi, "pa"}, {kGujarati, "gu"},  {kTamil, "ta"},
      {kTelugu, "te"},  {kKannada, "kn"},  {kMalayalam, "ml"}, {kThai, "th"}};
  const auto found = languages.find(script);
  return found == languages.end() ? nullptr : found->second;
}

// The languages that langdetect has profiles of, by CLD2's codes where those differ.
std::optional<std::string> known_code(const std::string& code) {
  static const std::map<std::string, std::string> renamed = {
      {"iw", "he"}, {"zh", "zh-cn"}, {"zh-Hant", "zh-tw"}, {"nb", "no"}, {"nn", "no"},
      {"gl", "es"}, {"ms", "id"},    {"bs", "hr"},         {"sr", "hr"}, {"fil", "tl"}};
  static constexpr std::string_view kCodes =
      " af ar bg bn ca cs cy da de el en es et fa fi fr gu he hi hr hu id it ja kn ko lt lv mk ml "
      "mr "
      "ne nl no pa pl pt ro ru sk sl so sq sv sw ta te th tl tr uk ur vi zh-cn zh-tw ";
  const auto found = renamed.find(code);
  const std::string name = found == renamed.end() ? code : found->second;
  if (kCodes.find(" " + name + " ") == kCodes.npos) return std::nullopt;
  return name;
}

std::optional<std::string> by_statistics(const Chars& text) {
  // CLD2 takes capitals for names and hints; the case says nothing of the language here.
  const std::string bytes = instructions::utf8_of(instructions::lower(text));
  CLD2::Language languages[3];
  int percent[3], text_bytes = 0;
  double scores[3];
  bool reliable = false;
  const CLD2::CLDHints hints{nullptr, nullptr, CLD2::UNKNOWN_ENCODING, CLD2::UNKNOWN_LANGUAGE};
  CLD2::ExtDetectLanguageSummary(bytes.data(), static_cast<int>(bytes.size()), true, &hints,
                                 CLD2::kCLDFlagBestEffort, languages, percent, scores, nullptr,
                                 &text_bytes, &reliable);
  for (const CLD2::Language language : languages) {
    if (language == CLD2::UNKNOWN_LANGUAGE) continue;
    if (auto code = known_code(CLD2::LanguageCode(language))) return code;
  }
  return std::nullopt;
}

// For a script of several languages that the statistics cannot tell apart.
const char* usual_language(Script script) {
  switch (script) {
    case kCyrillic:
      return "ru";
    case kArabic:
      return "ar";
    case kDevanagari:
      return "hi";
    case kHan:
      return "zh-cn";
    default:
      return "en";
  }
}

bool belongs(Script script, Script dominant) {
  return script == dominant || script == kOther || (dominant == kKana && script == kHan);
}

}  // namespace

std::optional<std::string> language_of(std::string_view text) {
  const Chars chars = without_links(chars_of(text.substr(0, 1 << 20)));
  Counts counts = count_scripts(chars);
  int64_t others = 0;
  for (int script = kLatin + 1; script < kScripts; ++script) others += counts[script];
  if (counts[kLatin] * 2 < others) counts[kLatin] = 0;
  if (counts[kKana] * 10 >= counts[kHan] && counts[kKana] > 0) {  // Japanese writes both
    counts[kKana] += counts[kHan];
    counts[kHan] = 0;
  }
  const auto dominant =
      static_cast<Script>(std::max_element(counts.begin(), counts.end()) - counts.begin());
  if (counts[dominant] == 0) return std::nullopt;
  if (const char* only = only_language(dominant)) return only;
  Chars own;  // of that script alone, so that names in another do not weigh
  for (const char32_t c : chars) own += belongs(script_of(c), dominant) ? c : U' ';
  const auto found = by_statistics(own);
  return found ? *found : usual_language(dominant);
}

}  // namespace dure
