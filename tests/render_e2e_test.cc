// `dure render` as a user runs it: a template or a typed format, a list of messages or an object
// with tools and further variables, flags over them, and bad input.
#include "base/json.h"
#include "program.h"
#include "text/chat.h"

namespace dure {
namespace {

constexpr char kTemplate[] =
    "{%- for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor -%}"
    "{% if tools %}[{{ tools | map(attribute='function') | map(attribute='name') | join(',') }}]{% "
    "endif -%}"
    "{% if enable_thinking is defined %}({{ enable_thinking }}){% endif -%}"
    "{{ mood | default('') }}{% if add_generation_prompt %}<assistant>{% endif %}";

class RenderVerb : public ::testing::Test {
 protected:
  RenderVerb() {
    write_file(at("t.jinja"), kTemplate);
    write_file(at("list.json"), R"([{"role":"user","content":"hi"}])");
    write_file(at("tools.json"), tools_);
    write_file(at("object.json"), R"({"messages":[{"role":"user","content":"hi"}],"mood":"glad",)"
                                  R"("enable_thinking":true,"tools":)" +
                                      tools_ + "}");
  }
  std::string at(const std::string& name) const { return (folder_.path() / name).string(); }
  std::string render(const std::string& arguments, const std::string& input = "") const {
    const Outcome outcome = run_program("render " + arguments, {.input = input});
    EXPECT_EQ(outcome.code, 0) << outcome.error;
    return outcome.out;
  }
  std::string with_template(const std::string& arguments, const std::string& input = "") const {
    return render("--template " + at("t.jinja") + " " + arguments, input);
  }

  TemporaryFolder folder_;
  std::string tools_ =
      R"([{"type":"function","function":{"name":"add","description":"adds","parameters":)"
      R"({"type":"object","properties":{"a":{"type":"integer"}},"required":["a"]}}}])";
};

TEST_F(RenderVerb, TemplatesSeeListsObjectsToolsAndVariables) {
  EXPECT_EQ(with_template(at("list.json")), "<user>hi");
  EXPECT_EQ(with_template(at("object.json")), "<user>hi[add](True)glad");
  EXPECT_EQ(with_template("-", read_file(at("object.json"))), "<user>hi[add](True)glad");
  EXPECT_EQ(with_template(at("list.json") + " --tools " + at("tools.json")), "<user>hi[add]");
  EXPECT_EQ(with_template(at("list.json") + " --add-generation-prompt"), "<user>hi<assistant>");
  // Flags win over the file; a value is JSON, or else text.
  EXPECT_EQ(with_template(at("object.json") + " --thinking off --set mood=sad"),
            "<user>hi[add](False)sad");
  EXPECT_EQ(with_template(at("list.json") + " --set 'mood=[1, 2]'"), "<user>hi[1, 2]");
}

// The typed format writes reasoning in a place of its own: marks in the content are pointed out.
TEST_F(RenderVerb, ReasoningInsideTheContentIsPointedOut) {
  write_file(
      at("inline.json"),
      R"([{"role":"user","content":"q"},{"role":"assistant","content":"<think>why</think>a"}])");
  const ProgramOptions warning{.input = "", .environment = "DURE_LOG=warn"};
  const Outcome outcome = run_program("render --format k1 " + at("inline.json"), warning);
  EXPECT_EQ(outcome.code, 0);
  EXPECT_NE(outcome.error.find("inline.json: messages[1]"), std::string::npos) << outcome.error;
  EXPECT_EQ(run_program("render --format k1 " + at("list.json"), warning).error, "");
}

TEST_F(RenderVerb, TheClockCanBeSet) {
  write_file(at("now.jinja"), "{{ strftime_now('%Y-%m-%d %H:%M') }}");
  EXPECT_EQ(render("--template " + at("now.jinja") + " " + at("list.json") +
                   " --now 2026-03-09T14:05:07"),
            "2026-03-09 14:05");
}

TEST_F(RenderVerb, ModelFoldersAndTypedFormatsAgree) {
  for (const char* format : {"k1", "k2"}) {
    const std::string typed = render("--format " + std::string(format) + " " + at("object.json") +
                                     " --add-generation-prompt");
    EXPECT_NE(typed.find("hi"), std::string::npos);
    EXPECT_NE(typed.find("\"add\""), std::string::npos) << typed;
    EXPECT_TRUE(typed.ends_with("<think>\n")) << typed;
    const std::string silent = render("--format " + std::string(format) + " " + at("object.json") +
                                      " --thinking off --add-generation-prompt");
    EXPECT_NE(silent, typed);
  }
  // A folder's own template is honoured.
  make_folders(at("model"));
  write_file(at("model/config.json"), "{}");
  write_file(at("model/chat_template.jinja"), kTemplate);
  EXPECT_EQ(render(at("model") + " " + at("object.json")), "<user>hi[add](True)glad");
}

TEST_F(RenderVerb, BadInputIsOneLine) {
  const auto refuse = [&](const std::string& arguments, const std::string& part) {
    SCOPED_TRACE(arguments);
    expect_refusal(run_program("render " + arguments), part);
  };
  write_file(at("torn.json"), "[{");
  write_file(at("number.json"), "3");
  write_file(at("bad.jinja"), "line one\n{{ x |");
  write_file(at("raise.jinja"), "{{ raise_exception('roles must alternate') }}");
  write_file(
      at("endless.jinja"),
      "{% for a in range(99999) %}{% for b in range(99999) %}{{ a * b }}{% endfor %}{% endfor %}");
  const std::string list = " " + at("list.json");
  refuse(at("nowhere") + list, "nowhere");
  refuse("--template " + at("t.jinja") + " " + at("torn.json"), "torn.json");
  refuse("--template " + at("t.jinja") + " " + at("number.json"), "number.json");
  refuse("--template " + at("bad.jinja") + list, "bad.jinja");
  refuse("--template " + at("raise.jinja") + list, "roles must alternate");
  refuse("--template " + at("endless.jinja") + list, "endless.jinja");
  refuse("--template " + at("t.jinja") + list + " --thinking maybe", "on or off");
  refuse("--template " + at("t.jinja") + list + " --set mood", "NAME=VALUE");
  refuse("--template " + at("t.jinja") + list + " --now yesterday", "2026-03-09T14:05:07");
  refuse("--format k3" + list, "k1 or k2");
  refuse("--format k1 " + at("list.json") + list, "one file of messages");
}

TEST_F(RenderVerb, ConversationsAreJudgedAsDataIs) {
  expect_refusal(run_program("render --format k1 -", {.input = "[]"}), "is empty");
  expect_refusal(run_program("render --format k1 -", {.input = R"([{"role":"user"}])"}),
                 "messages[0]: a message has neither");
  expect_refusal(
      run_program("render --format k1 -",
                  {.input = R"({"messages":[{"role":"user","content":"a"}],"tools":"abc"})"}),
      "'tools'");
}

}  // namespace
}  // namespace dure
