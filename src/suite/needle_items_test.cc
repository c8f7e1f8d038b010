// Lengths are kept, codes stand where they should and nowhere else, and the same options give the
// same items.
#include "suite/needle_items.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "base/testing.h"

namespace dure {
namespace {

const CountText kCharacters = count_characters;

TEST(NeedleItems, AGrid) {
  const NeedleItemOptions options{.lengths = {1500, 6000},
                                  .depths = 3,
                                  .needles = {1, 4},
                                  .distractors = 2,
                                  .items_per_cell = 2};
  const std::vector<Item> items = needle_items(options, "", kCharacters, "test");
  ASSERT_EQ(items.size(), 2u * 3 * 2 * 2);
  for (const Item& item : items) {
    const std::string& text = item.messages[0].content;
    const int64_t length = item.fields.at("length").as_int();
    EXPECT_LE(count_characters(text), length);
    EXPECT_GT(count_characters(text), length - 200);
    EXPECT_EQ(item.fields.at("counted").as_int(), count_characters(text));
    EXPECT_EQ(static_cast<int64_t>(item.reference.size()), item.fields.at("needles").as_int());
    for (const Json& code : item.reference.as_array()) {
      const size_t at = text.find(code.as_string());
      ASSERT_NE(at, std::string::npos);
      EXPECT_EQ(text.find(code.as_string(), at + 1), std::string::npos);
    }
  }
  EXPECT_EQ(items[0].id, "1500/0%/1/1");
}

TEST(NeedleItems, Depths) {
  const NeedleItemOptions options{.lengths = {10'000}, .depths = 5};
  for (const Item& item : needle_items(options, "", kCharacters, "test")) {
    const std::string& text = item.messages[0].content;
    const double at = static_cast<double>(text.find(item.reference.at(size_t{0}).as_string())) /
                      static_cast<double>(text.rfind("\n\n"));
    EXPECT_NEAR(at, item.fields.at("depth").as_double(), 0.03) << item.id;
  }
}

TEST(NeedleItems, SameAgainAndOtherSeeds) {
  const NeedleItemOptions options{.lengths = {2000}};
  const auto text = [](const std::vector<Item>& items) { return item_to_json(items[0]).dump(); };
  EXPECT_EQ(text(needle_items(options, "", kCharacters, "t")),
            text(needle_items(options, "", kCharacters, "t")));
  EXPECT_NE(text(needle_items(options, "", kCharacters, "t")),
            text(needle_items({.seed = 2, .lengths = {2000}}, "", kCharacters, "t")));
}

TEST(NeedleItems, AnyTextAndAnyCount) {
  const std::string korean = "첫째 문장이다. 둘째 문장도 있다。셋째는\n넷째 문장이다.";
  const CountText words = [](std::string_view text) {
    return static_cast<int64_t>(std::count(text.begin(), text.end(), ' ')) + 1;
  };
  const NeedleItemOptions options{
      .lengths = {300}, .depths = 2, .needles = {2}, .language = NeedleLanguage::kKorean};
  for (const Item& item : needle_items(options, korean, words, "test")) {
    EXPECT_LE(words(item.messages[0].content), 300);
    EXPECT_NE(item.messages[0].content.find("둘째 문장도"), std::string::npos);
    EXPECT_NE(item.messages[0].content.find("암호는"), std::string::npos);
  }
}

TEST(NeedleItems, NoRoom) {
  EXPECT_EQ(message_of([] { needle_items({.lengths = {50}}, "", kCharacters, "task n"); }),
            "task n: lengths: 50 has no room for 1 needles");
  EXPECT_EQ(message_of([] { needle_items({.needles = {0}}, "", kCharacters, "task n"); }),
            "task n: needles: from 1 to 64, not 0");
}

}  // namespace
}  // namespace dure
