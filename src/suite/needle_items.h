// suite/needle_items.h: what was said once in a long text, asked for at its end: items of any
// length made of any text.
//
// Owns planting sentences with codes in a haystack, at depths and in numbers of a grid. Graded by
// the share of the codes that the answer holds: `match` with style `ruler`, or `needles`. Not here:
// needles read from likelihoods (eval/needle.h), short ones without a text (generated_items.h).
//
// Source: Hsieh et al., RULER, COLM 2024, section 3 (several keys, several values, distractors);
// Kamradt's needle in a haystack (length by depth). Sentences and words are ours.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "base/options.h"
#include "grade/item.h"

namespace dure {

enum class NeedleLanguage { kEnglish, kKorean };
constexpr auto enum_names(NeedleLanguage) {
  return std::to_array<EnumName<NeedleLanguage>>(
      {{NeedleLanguage::kEnglish, "en"}, {NeedleLanguage::kKorean, "ko"}});
}

struct NeedleItemOptions {
  int64_t seed = 1;
  std::vector<int64_t> lengths = {4000};
  int64_t depths = 5;
  std::vector<int64_t> needles = {1};
  int64_t distractors = 0;
  int64_t items_per_cell = 1;
  NeedleLanguage language = NeedleLanguage::kEnglish;
  template <typename V>
  void visit(V& v) {
    v("seed", seed, "of the texts' beginnings, names and codes");
    v("lengths", lengths,
      "of the whole prompt, in tokens where they can be counted, else characters");
    v("depths", depths, "places of the first needle, from the beginning to the end",
      between(1, 101));
    v("needles", needles, "codes planted in a text, and asked for");
    v("distractors", distractors, "codes planted that are not asked for", between(0, 64));
    v("items_per_cell", items_per_cell, "items for each length, depth and number", at_least(1));
    v("language", language, "of the needles and the question");
  }
};

// Length of a text; called for every sentence of the haystack and a few times for each item.
using CountText = std::function<int64_t(std::string_view)>;
int64_t count_characters(std::string_view text);

// `haystack`: any text, read on from its beginning where it is too short; empty: a few sentences of
// our own. No item is longer than its length. Id: "LENGTH/DEPTH%/NEEDLES/NUMBER"; group: LENGTH;
// reference: the codes; fields: {"length", "depth", "needles", "counted"}. The same arguments give
// the same items. Throws kInvalidArgument naming `where`: no room for the needles.
std::vector<Item> needle_items(const NeedleItemOptions& options, std::string_view haystack,
                               const CountText& count, const std::string& where);

}  // namespace dure
