// The chat format and the templates against golden/chat: render.json (jinja2's renderings) and
// parse.json.
#include <gtest/gtest.h>

#include <ctime>

#include "base/error.h"
#include "base/json.h"
#include "base/rng.h"
#include "golden.h"
#include "text/chat.h"
#include "text/chat_template.h"
#include "text/output_parser.h"

namespace dure {
namespace {

const Json& field(const Json& json, std::string_view key) {
  static const Json null;
  const Json* found = json.find(key);
  return found != nullptr ? *found : null;
}

bool flag(const Json& options, std::string_view key, bool otherwise) {
  const Json& value = field(options, key);
  return value.is_bool() ? value.as_bool() : otherwise;
}

std::string render_typed(const Json& c, ChatFormat format) {
  const Json& options = c.at("options");
  return render_chat(messages_from_json(c.at("messages"), "golden"),
                     {.format = format,
                      .add_generation_prompt = flag(options, "add_generation_prompt", false),
                      .enable_thinking = flag(options, "enable_thinking", true),
                      .preserve_thinking = false,
                      .tools = field(options, "tools")});
}

TEST(ChatGolden, TypedFormatsRenderAsTheirTemplates) {
  golden::Report report("chat typed");
  for (const Path& root : golden::roots("chat")) {
    const Json golden = load_json(root / "render.json");
    for (size_t i = 0; i < golden.at("cases").size(); ++i) {
      const Json& c = golden.at("cases").at(i);
      const std::string name = c.at("template").as_string();
      if (name != "k1" && name != "k2") continue;
      const ChatFormat format = name == "k1" ? ChatFormat::kK1 : ChatFormat::kK2;
      const std::string where = fmt::format("{} case {} ({})", root.string(), i, name);
      if (const Json* text = c.find("text")) {
        const std::string typed = render_typed(c, format);
        EXPECT_EQ(typed, text->as_string()) << where;
        report.add("texts that differ", typed != text->as_string(), where);
      } else {
        try {
          render_typed(c, format);
          ADD_FAILURE() << where << ": should fail: " << c.at("error").as_string();
        } catch (const Error& error) {
          EXPECT_NE(std::string(error.what()).find(c.at("error").as_string()), std::string::npos)
              << where << ": " << error.what();
        }
      }
    }
  }
}

// "2026-03-09T14:05:07"
std::tm time_of(const std::string& text) {
  std::tm out{};
  EXPECT_NE(strptime(text.c_str(), "%Y-%m-%dT%H:%M:%S", &out), nullptr) << text;
  return out;
}

// The template's text, or "error: ..." with what was thrown.
std::string render_template(const Path& file, const Json& c, const std::tm& now) {
  try {
    ChatTemplate chat(read_file(file), file.filename().string());
    chat.set_now(now);
    return chat.render(c.at("messages"), c.at("options"));
  } catch (const Error& error) {
    return std::string("error: ") + error.what();
  }
}

TEST(ChatGolden, TemplatesRenderAsJinja2RendersThem) {
  golden::Report report("chat jinja");
  for (const Path& root : golden::roots("chat")) {
    const Json golden = load_json(root / "render.json");
    const std::tm now = time_of(golden.at("now").as_string());
    for (size_t i = 0; i < golden.at("cases").size(); ++i) {
      const Json& c = golden.at("cases").at(i);
      const std::string name = c.at("template").as_string();
      const std::string where = fmt::format("{} case {} ({})", root.string(), i, name);
      const std::string got = render_template(root / "templates" / (name + ".jinja"), c, now);
      bool good = false;
      if (const Json* text = c.find("text")) {
        EXPECT_EQ(got, text->as_string()) << where;
        good = got == text->as_string();
      } else {
        const bool names_line =
            got.starts_with("error: ") && got.find("line ") != std::string::npos;
        good = names_line && (!flag(c, "raised", false) ||
                              got.find(c.at("error").as_string()) != std::string::npos);
        EXPECT_TRUE(good) << where << ": " << got << "\nshould be: " << c.at("error").as_string();
      }
      report.add("texts and errors that differ", !good, where);
    }
  }
}

TEST(ChatGolden, ReleasedTemplatesRenderAsTheTypedFormats) {
  golden::Report report("chat released");
  for (const Path& root : golden::roots("chat")) {
    const Json golden = load_json(root / "render.json");
    for (size_t i = 0; i < golden.at("cases").size(); ++i) {
      const Json& c = golden.at("cases").at(i);
      for (const ChatFormat format : {ChatFormat::kK1, ChatFormat::kK2}) {
        const ChatTemplate released(released_chat_template(format), "released");
        EXPECT_EQ(released.format(), format);
        if (c.at("template").as_string() != (format == ChatFormat::kK1 ? "k1" : "k2") ||
            c.find("text") == nullptr)
          continue;
        const std::string got = released.render(c.at("messages"), c.at("options"));
        report.add("texts that differ", got != c.at("text").as_string(), fmt::format("case {}", i));
        EXPECT_EQ(got, c.at("text").as_string()) << i;
      }
    }
  }
}

// Sums of deltas; `piece_size(i)` says how many bytes from i on come next.
template <typename PieceSize>
OutputDelta parse_in_pieces(const std::string& text, const OutputParserOptions& options,
                            PieceSize piece_size) {
  OutputParser parser(options);
  OutputDelta sum;
  for (size_t i = 0; i < text.size();) {
    const size_t size = std::min<size_t>(piece_size(i), text.size() - i);
    sum += parser.push(std::string_view(text).substr(i, size));
    i += size;
  }
  sum += parser.finish();
  return sum;
}

bool same_as_golden(const OutputDelta& got, const Json& c) {
  if (got.reasoning != c.at("reasoning").as_string() || got.content != c.at("content").as_string())
    return false;
  const Json& calls = c.at("tool_calls");
  if (got.tool_calls.size() != calls.size()) return false;
  for (size_t i = 0; i < calls.size(); ++i) {
    if (got.tool_calls[i].name != calls.at(i).at("name").as_string()) return false;
    if (got.tool_calls[i].arguments.dump() != calls.at(i).at("arguments").dump()) return false;
  }
  return true;
}

TEST(ChatGolden, ParsesWhatTheModelSaysForEveryCut) {
  golden::Report report("chat parse");
  Rng rng(20260309);
  for (const Path& root : golden::roots("chat")) {
    const Json golden = load_json(root / "parse.json");
    for (size_t i = 0; i < golden.at("cases").size(); ++i) {
      const Json& c = golden.at("cases").at(i);
      const std::string& text = c.at("text").as_string();
      const std::string where =
          fmt::format("{} case {}: {}", root.string(), i,
                      field(c, "note").is_string() ? c.at("note").as_string() : "");
      OutputParserOptions options{
          .format = c.at("format").as_string() == "k2" ? ChatFormat::kK2 : ChatFormat::kK1,
          .thinking = c.at("thinking").as_bool(),
          .tools = golden.at("tools")};
      if (const Json* tools = c.find("tools")) options.tools = *tools;
      int64_t wrong_count = 0, cut_count = 0;
      const auto check = [&](auto piece_size) {
        ++cut_count;
        wrong_count += !same_as_golden(parse_in_pieces(text, options, piece_size), c);
      };
      check([&](size_t) { return text.size(); });
      check([](size_t) { return size_t{1}; });
      for (size_t cut = 1; cut < text.size(); ++cut)
        check([&](size_t at) { return at == 0 ? cut : text.size(); });
      for (int round = 0; round < 50; ++round)
        check([&](size_t) { return static_cast<size_t>(rng.between(1, 9)); });
      report.add("cuts parsed wrong", static_cast<double>(wrong_count), where);
      const OutputDelta whole = parse_output(text, options);
      EXPECT_EQ(wrong_count, 0) << where << "\nof " << cut_count << " cuts; reasoning '"
                                << whole.reasoning << "', content '" << whole.content << "', calls "
                                << whole.tool_calls.size();
    }
  }
}

}  // namespace
}  // namespace dure
