// Budgets over random answers: where the end is forced, that characters stay whole, that a mask led
// back and forth says the same, and what follows under a form.
#include "chat/thinking_budget.h"

#include <gtest/gtest.h>

#include "base/rng.h"
#include "chat/answer_masks.h"
#include "chat/chat_fixture.h"
#include "grammar/answer_request.h"
#include "text/output_parser.h"

namespace dure {
namespace {

using testing_chat::small_tokenizer;

std::vector<int32_t> ids_of(std::string_view text) {
  return small_tokenizer().encode(text, {.add_special_tokens = false});
}

std::optional<int32_t> only_one(std::span<const uint64_t> allowed) {
  std::optional<int32_t> out;
  for (size_t i = 0; i < allowed.size() * 64; ++i) {
    if ((allowed[i / 64] >> (i % 64) & 1) == 0) continue;
    if (out) return std::nullopt;
    out = static_cast<int32_t>(i);
  }
  return out;
}

// The answer that takes `wanted` where it may, and what is forced where it may not.
std::string answer(TokenMask& mask, const std::vector<int32_t>& wanted) {
  std::vector<int32_t> taken;
  for (size_t next = 0; next < wanted.size();) {
    const auto allowed = mask.allowed(taken);
    const auto forced = allowed.empty() ? std::nullopt : only_one(allowed);
    taken.push_back(forced ? *forced : wanted[next]);
    if (!forced) ++next;
  }
  return small_tokenizer().decode(taken);
}

TEST(ThinkingBudget, ForcesTheEndBehindItsTokensAndTheAnswerGoesOn) {
  const std::vector<int32_t> thought = ids_of("the village shares its work, and shares it again");
  for (const int64_t budget : {0, 1, 5}) {
    ThinkingBudget mask(small_tokenizer(), 500, budget, nullptr);
    const std::string head =
        small_tokenizer().decode(std::span(thought).first(static_cast<size_t>(budget)));
    const std::string rest =
        small_tokenizer().decode(std::span(thought).subspan(static_cast<size_t>(budget)));
    EXPECT_EQ(answer(mask, thought), head + "</think>" + rest);
  }
}

TEST(ThinkingBudget, LeavesAloneWhatEndsByItself) {
  const std::vector<int32_t> said =
      ids_of("the village</think>shares its work, its work, its work");
  ThinkingBudget mask(small_tokenizer(), 500, std::ssize(ids_of("the village</think>")), nullptr);
  EXPECT_EQ(answer(mask, said), small_tokenizer().decode(said));
}

TEST(ThinkingBudget, EndsNoCharacterInItsMiddle) {
  const std::string text = "🌾🌾🌾🌾 뷁뷁뷁뷁";  // more tokens than characters
  const std::vector<int32_t> thought = ids_of(text);
  ASSERT_GT(thought.size(), 9u);
  for (int64_t budget = 0; budget + 4 < std::ssize(thought); ++budget) {
    ThinkingBudget mask(small_tokenizer(), 500, budget, nullptr);
    const std::string said = answer(mask, thought);
    EXPECT_EQ(said.find("\xEF\xBF\xBD"), std::string::npos) << budget << ": " << said;
    EXPECT_NE(said.find("</think>"), std::string::npos) << budget;
  }
}

TEST(ThinkingBudget, SaysTheSameWhereverItWasLedBefore) {
  const std::vector<int32_t> thought = ids_of("the village < / shares </thin its work 마을이 일을");
  const int64_t budget = 7;
  ThinkingBudget wandering(small_tokenizer(), 500, budget, nullptr);
  Rng rng(3);
  for (int i = 0; i < 300; ++i) {
    std::vector<int32_t> so_far(thought.begin(), thought.begin() + rng.below(budget + 1));
    if (rng.below(2) == 0) so_far.push_back(static_cast<int32_t>(rng.below(400)));
    ThinkingBudget fresh(small_tokenizer(), 500, budget, nullptr);
    const auto a = wandering.allowed(so_far), b = fresh.allowed(so_far);
    EXPECT_TRUE(std::equal(a.begin(), a.end(), b.begin(), b.end())) << i;
  }
}

TEST(ThinkingBudget, AFormHoldsBehindIt) {
  const int32_t stop = *small_tokenizer().eos_id();
  AnswerMasks masks(small_tokenizer(), 500, {stop});
  AnswerForm form = *answer_form_of(parse_json(R"({"guided_choice":["마을"]})", "request"));
  form.after_reasoning = true;
  ThinkingBudget mask(small_tokenizer(), 500, 3, masks.mask(form).mask);
  std::vector<int32_t> taken;
  const std::vector<int32_t> thought = ids_of("shares its work, shares");
  Rng rng(1);
  while (taken.size() < 100) {
    const auto allowed = mask.allowed(taken);
    std::vector<int32_t> ids;
    for (size_t i = 0; i < allowed.size() * 64; ++i)
      if ((allowed[i / 64] >> (i % 64) & 1) != 0) ids.push_back(static_cast<int32_t>(i));
    ASSERT_FALSE(ids.empty());
    const int32_t next = taken.size() < 3 ? thought[taken.size()]
                                          : ids[static_cast<size_t>(rng.below(std::ssize(ids)))];
    if (next == stop) break;
    taken.push_back(next);
  }
  const OutputDelta read = parse_output(small_tokenizer().decode(taken), {.thinking = true});
  EXPECT_EQ(read.content, "마을");
}

}  // namespace
}  // namespace dure
