// Models of one report were asked the same problems: a card is a problem, with an answer a model.
// Long texts are folded, so that a card stays a card.
#include "eval/report_samples.h"

#include <fmt/core.h>

#include <algorithm>

#include "base/html.h"
#include "base/python_text.h"
#include "eval/report_data.h"

namespace dure {
namespace {

constexpr size_t kFoldBytes = 320, kFoldLines = 8;

bool is_blank(const std::string& text) { return python_strip(text, StripSide::kBoth).empty(); }

// In samples "thinking" is what was thought; how the model was asked stands in other fields.
std::string reasoning_of(const Json& sample) { return text_of(sample, "thinking"); }

Mode mode_of_sample(const Json& sample) {
  const Json* on = sample.find("thinking_on");
  const auto turns = number_of(sample, "turns");
  return {static_cast<int64_t>(turns.value_or(1)), on == nullptr || !(*on == Json(false))};
}

// A block that its text cannot end.
std::string fenced(const std::string& text) {
  std::string fence = "```";
  while (text.find(fence) != std::string::npos) fence += "`";
  return fence + "text\n" + text + "\n" + fence + "\n";
}

bool is_long(const std::string& text) {
  return text.size() > kFoldBytes ||
         static_cast<size_t>(std::count(text.begin(), text.end(), '\n')) >= kFoldLines;
}

int64_t character_count(const std::string& text) {
  int64_t count = 0;
  for (size_t at = 0; at < text.size(); ++count) next_code_point(text, at);
  return count;
}

// Its first characters, on one line.
std::string beginning(const std::string& text) {
  size_t at = 0;
  for (int i = 0; i < 40 && at < text.size() && text[at] != '\n'; ++i) next_code_point(text, at);
  return text.substr(0, at);
}

std::string pre(const std::string& text, const char* kind, const std::string& what) {
  const std::string body = fmt::format("<pre class='{}'>", kind) + escape_html(text) + "</pre>";
  if (!is_long(text)) return body;
  return fmt::format("<details><summary>{}, {} characters: {}…</summary>", what,
                     grouped(character_count(text)), escape_html(beginning(text))) +
         body + "</details>";
}

std::string answer_html(const std::string& model, const Json& sample) {
  const bool right = is_right(sample);
  std::string out =
      fmt::format("<div class='answer {}'><div class='who'><b>{}</b> {}</div>",
                  right ? "right" : "wrong", escape_html(model), right ? "✓ right" : "✗ wrong");
  if (const std::string thinking = reasoning_of(sample); !is_blank(thinking))
    out += pre(thinking, "think", "its reasoning");
  if (const std::string note = blank_note(sample); !note.empty())
    out += "<p class='blank'>" + escape_html(note) + "</p>";
  else
    out += pre(text_of(sample, "content"), "said", "its answer");
  return out + "</div>";
}

// Of the same problem, asked the same way.
bool same_problem(const Json& a, const Json& b) {
  return text_of(a, "prompt") == text_of(b, "prompt") && text_of(a, "task") == text_of(b, "task") &&
         mode_of_sample(a) == mode_of_sample(b);
}

// The questions of the conversation before the one that is asked, with their answers.
std::string earlier_html(const Json& sample) {
  std::string out;
  for (const Json& turn : list_of(sample, "earlier"))
    out += pre(text_of(turn, "prompt") + "\n" + text_of(turn, "answer"), "think", "what was said");
  return out;
}

struct Card {
  const Json* problem;
  std::string answers;
};

std::string card_html(const Card& card) {
  const Json& p = *card.problem;
  std::string what = text_of(p, "task") + " · " + text_of(p, "language");
  if (const Mode mode = mode_of_sample(p); mode != Mode()) what += " · " + mode_text(mode);
  std::string out = "<article class='card'><div class='what'>" + escape_html(what) + "</div>" +
                    earlier_html(p) + pre(text_of(p, "prompt"), "ask", "the question") +
                    card.answers;
  if (const std::string expected = text_of(p, "expected"); !expected.empty())
    out += "<div class='expected'>expected <code>" + escape_html(expected) + "</code></div>";
  return out + "</article>";
}

}  // namespace

bool is_right(const Json& sample) {
  const Json* right = sample.find("right");
  return right != nullptr && *right == Json(true);
}

std::string blank_note(const Json& sample) {
  if (!is_blank(text_of(sample, "content"))) return "";
  const auto tokens = number_of(sample, "tokens");
  const Json* closed = sample.find("reasoning_closed");
  const bool inside = closed != nullptr && *closed == Json(false);
  const std::string finish = text_of(sample, "finish");
  std::string out = "(no answer";
  if (finish == "length") out += ": cut at the limit";
  if (finish == "stop") out += ": ended";
  if (inside) out += finish.empty() ? ": still inside its reasoning" : " inside its reasoning";
  if (tokens) out += fmt::format(" after {} token{}", *tokens, *tokens == 1 ? "" : "s");
  return out + ")";
}

std::string samples_html(const std::vector<Json>& results) {
  std::vector<Card> cards;
  for (const Json& result : results) {
    for (const Json& sample : list_of(result, "samples")) {
      auto card = std::find_if(cards.begin(), cards.end(),
                               [&](const Card& c) { return same_problem(*c.problem, sample); });
      if (card == cards.end()) card = cards.insert(cards.end(), {&sample, ""});
      card->answers += answer_html(text_of(result, "name"), sample);
    }
  }
  std::string out;
  for (const Card& card : cards) out += card_html(card);
  return out.empty() ? "" : "<div class='grid cards'>" + out + "</div>";
}

std::string samples_markdown(const Json& result) {
  std::string out;
  for (const Json& sample : list_of(result, "samples")) {
    const std::string note = blank_note(sample);
    const std::string said = note.empty() ? text_of(sample, "content") : note;
    out += fmt::format(
        "\n**{} ({}), {}**\n\n{}", text_of(sample, "task"), text_of(sample, "language"),
        is_right(sample) ? "right" : "wrong",
        fenced(text_of(sample, "prompt") + "\n---\n" + reasoning_of(sample) + "\n---\n" + said));
  }
  return out;
}

}  // namespace dure
