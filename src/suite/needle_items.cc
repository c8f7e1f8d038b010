// Whole sentences are taken until the length is reached; needles stand between them.
#include "suite/needle_items.h"

#include <algorithm>
#include <array>

#include "base/error.h"
#include "base/python_text.h"
#include "base/rng.h"
#include "base/utf8.h"

namespace dure {
namespace {

constexpr std::string_view kOwnText =
    "The road follows the river for a while and then turns up the hill. In the morning there is "
    "mist between the trees. A cart stands by the gate, and nobody knows whose it is. Bread is "
    "baked "
    "on Tuesdays and Fridays. The bell can be heard as far as the mill. When it rains, the "
    "children "
    "count the drops on the window. An old map hangs in the hall, with more names on it than there "
    "are houses. ";

constexpr std::array kFirst = {"silver", "quiet",  "northern", "hollow", "amber",  "distant",
                               "narrow", "frozen", "golden",   "broken", "hidden", "painted"};
constexpr std::array kSecond = {"harbour", "lantern", "orchard", "bridge", "tower",  "garden",
                                "valley",  "mirror",  "anchor",  "ladder", "window", "compass"};
constexpr std::array kFirstKo = {"은빛", "고요한",   "북쪽", "텅 빈",  "호박색", "머나먼",
                                 "좁은", "얼어붙은", "금빛", "부서진", "숨은",   "색칠한"};
constexpr std::array kSecondKo = {"항구",   "등불", "과수원", "다리",   "탑",   "정원",
                                  "골짜기", "거울", "닻",     "사다리", "창문", "나침반"};

struct Needle {
  std::string name, code;
};

std::string sentence(const Needle& needle, NeedleLanguage language) {
  return language == NeedleLanguage::kKorean
             ? fmt::format("{}의 암호는 {}입니다. ", needle.name, needle.code)
             : fmt::format("The code of the {} is {}. ", needle.name, needle.code);
}

std::string question(const std::vector<Needle>& asked, NeedleLanguage language) {
  std::string names;
  const bool korean = language == NeedleLanguage::kKorean;
  for (size_t i = 0; i < asked.size(); ++i)
    names += (i == 0 ? "" : ", ") + std::string(korean ? "" : "the ") + asked[i].name;
  if (korean) return fmt::format("\n\n위 글에서 다음의 암호를 찾아 숫자만 쓰세요: {}", names);
  return fmt::format(
      "\n\nFind in the text above the code of each of these, and answer with the "
      "numbers alone: {}",
      names);
}

// Ends of sentences in the scripts we know: a mark and white space, a full-width mark, a line's
// end.
bool ends_sentence(std::string_view text, size_t i) {
  if (text[i] == '\n') return true;
  const bool mark = text[i] == '.' || text[i] == '!' || text[i] == '?';
  if (mark) return i + 1 == text.size() || text[i + 1] == ' ' || text[i + 1] == '\n';
  return i >= 2 && text.substr(i - 2, 3) == "\xE3\x80\x82";
}

std::vector<std::string> sentences_of(std::string_view text) {
  std::vector<std::string> sentences;
  size_t begin = 0;
  for (size_t i = 0; i < text.size(); ++i) {
    if (!ends_sentence(text, i) && i + 1 < text.size()) continue;
    while (i + 1 < text.size() && (text[i + 1] == ' ' || text[i + 1] == '\n')) ++i;
    sentences.emplace_back(text.substr(begin, i + 1 - begin));
    begin = i + 1;
  }
  return sentences;
}

struct Haystack {
  std::vector<std::string> sentences;
  std::vector<int64_t> counts;
};

Haystack haystack_of(std::string_view text, const CountText& count) {
  if (python_strip(text).empty()) text = kOwnText;
  Haystack haystack{.sentences = sentences_of(text)};
  for (const std::string& sentence : haystack.sentences)
    haystack.counts.push_back(std::max<int64_t>(count(sentence), 1));
  return haystack;
}

// Names and codes that differ from each other; the codes stand nowhere in the haystack.
std::vector<Needle> needles_of(int64_t count, NeedleLanguage language, std::string_view text,
                               Rng& rng) {
  const bool korean = language == NeedleLanguage::kKorean;
  std::vector<std::string> names;
  for (size_t i = 0; i < kFirst.size(); ++i)
    for (size_t j = 0; j < kSecond.size(); ++j)
      names.push_back(korean ? fmt::format("{} {}", kFirstKo[i], kSecondKo[j])
                             : fmt::format("{} {}", kFirst[i], kSecond[j]));
  rng.shuffle(names);
  std::vector<Needle> needles;
  while (static_cast<int64_t>(needles.size()) < count) {
    const std::string code = std::to_string(rng.between(1'000'000, 9'999'999));
    const bool taken = std::any_of(needles.begin(), needles.end(),
                                   [&](const Needle& needle) { return needle.code == code; });
    if (!taken && text.find(code) == std::string_view::npos)
      needles.push_back({names[needles.size()], code});
  }
  return needles;
}

struct Cell {
  int64_t length = 0;
  double depth = 0;
  int64_t needles = 0, number = 0;
};

class Maker {
 public:
  Maker(const NeedleItemOptions& options, std::string_view text, const CountText& count,
        const std::string& where)
      : options_(options),
        text_(text),
        count_(count),
        where_(where),
        haystack_(haystack_of(text, count)) {}

  Item make(const Cell& cell) const {
    Rng rng(static_cast<uint64_t>(options_.seed), static_cast<uint64_t>(cell.length),
            static_cast<uint64_t>((cell.needles * 1000 + cell.number) * 1'000'000 +
                                  static_cast<int64_t>(cell.depth * 1000) * 1000));
    const std::vector<Needle> planted =
        needles_of(cell.needles + options_.distractors, options_.language, text_, rng);
    const std::vector<Needle> asked(planted.begin(), planted.begin() + cell.needles);
    const auto first = static_cast<size_t>(rng.below(std::ssize(haystack_.sentences)));
    size_t taken = sentences_that_fit(cell.length, first, planted, asked);
    std::string prompt = text_of(cell, first, taken, planted, asked);
    while (count_(prompt) > cell.length) {
      if (taken == 0)
        fail(ErrorCode::kInvalidArgument, "{}: lengths: {} has no room for {} needles", where_,
             cell.length, planted.size());
      taken -= std::max<size_t>(1, taken / 100);
      prompt = text_of(cell, first, taken, planted, asked);
    }
    return item(cell, std::move(prompt), asked);
  }

 private:
  // By the sum of their lengths, which is near that of the whole.
  size_t sentences_that_fit(int64_t length, size_t first, const std::vector<Needle>& planted,
                            const std::vector<Needle>& asked) const {
    int64_t left = length - count_(question(asked, options_.language));
    for (const Needle& needle : planted) left -= count_(sentence(needle, options_.language));
    size_t taken = 0;
    while ((left -= haystack_.counts[(first + taken) % haystack_.counts.size()]) >= 0) ++taken;
    return taken;
  }

  // The first needle stands at the depth, the others at even distances from it, around the end.
  std::string text_of(const Cell& cell, size_t first, size_t taken,
                      const std::vector<Needle>& planted, const std::vector<Needle>& asked) const {
    std::vector<std::pair<size_t, size_t>> places;  // sentence, needle
    for (size_t i = 0; i < planted.size(); ++i) {
      double depth = cell.depth + static_cast<double>(i) / static_cast<double>(planted.size());
      if (i > 0 && depth >= 1) depth -= 1;
      places.emplace_back(static_cast<size_t>(depth * static_cast<double>(taken) + 0.5), i);
    }
    std::sort(places.begin(), places.end());
    std::string text;
    auto next = places.begin();
    for (size_t i = 0; i <= taken; ++i) {
      for (; next != places.end() && next->first == i; ++next)
        text += sentence(planted[next->second], options_.language);
      if (i < taken) text += haystack_.sentences[(first + i) % haystack_.sentences.size()];
    }
    return text + question(asked, options_.language);
  }

  Item item(const Cell& cell, std::string prompt, const std::vector<Needle>& asked) const {
    Item item{.id = fmt::format("{}/{:.0f}%/{}/{}", cell.length, cell.depth * 100, cell.needles,
                                cell.number),
              .group = std::to_string(cell.length),
              .reference = Json::array(),
              .fields = Json::object()};
    for (const Needle& needle : asked) item.reference.push_back(needle.code);
    item.fields["length"] = cell.length;
    item.fields["depth"] = cell.depth;
    item.fields["needles"] = cell.needles;
    item.fields["counted"] = count_(prompt);
    item.messages.push_back({.role = Role::kUser, .content = std::move(prompt)});
    return item;
  }

  const NeedleItemOptions& options_;
  std::string_view text_;
  const CountText& count_;
  const std::string& where_;
  Haystack haystack_;
};

}  // namespace

int64_t count_characters(std::string_view text) {
  return std::count_if(text.begin(), text.end(), [](char byte) { return !is_utf8_tail(byte); });
}

std::vector<Item> needle_items(const NeedleItemOptions& options, std::string_view haystack,
                               const CountText& count, const std::string& where) {
  const Maker maker(options, haystack, count, where);
  std::vector<Item> items;
  for (const int64_t length : options.lengths) {
    for (int64_t i = 0; i < options.depths; ++i) {
      const double depth = options.depths == 1
                               ? 0.5
                               : static_cast<double>(i) / static_cast<double>(options.depths - 1);
      for (const int64_t needles : options.needles) {
        if (needles < 1 || needles > 64)
          fail(ErrorCode::kInvalidArgument, "{}: needles: from 1 to 64, not {}", where, needles);
        for (int64_t number = 1; number <= options.items_per_cell; ++number)
          items.push_back(maker.make({length, depth, needles, number}));
      }
    }
  }
  return items;
}

}  // namespace dure
