// `dure chat` at a terminal, through a pseudo-terminal that types: UTF-8 keys in any locale, pasted
// lines as one message, commands that confirm, and a way out of a full context; and the same from a
// pipe, where the exit code speaks.
#include "terminal.h"
#include "tiny_model.h"

namespace dure {
namespace {

size_t count_of(const std::string& text, const std::string& part) {
  size_t count = 0;
  for (size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) ++count;
  return count;
}

class ChatTerminal : public TinyModel {
 protected:
  static std::vector<std::string> chat(std::vector<std::string> flags = {}) {
    std::vector<std::string> all = {"chat", at("model"), "--temperature", "0", "--threads", "1",
                                    "-n",   "4"};
    all.insert(all.end(), flags.begin(), flags.end());
    return all;
  }
  static void leave(Terminal& terminal) {
    terminal.type("/quit\r");
    terminal.rest();
    EXPECT_EQ(terminal.exit_code(), 0);
  }
};

TEST_F(ChatTerminal, EveryLetterCanBeTypedWhateverTheLocale) {
  for (const char* locale : {static_cast<const char*>(nullptr), "C", "POSIX", "C.UTF-8",
                             "ko_KR.EUC-KR", "no_SUCH.locale"}) {
    SCOPED_TRACE(locale == nullptr ? "none" : locale);
    Terminal terminal(chat(), locale);
    terminal.wait_for(kReady);
    const std::string text = "마을 größer Việt 日本 🌾";
    terminal.type("/system " + text + "\r");
    terminal.wait_for("the system message is set");
    terminal.wait_for(kReady);
    terminal.type("/system\r");
    terminal.wait_for("(the system message: " + text + ";");
    leave(terminal);
  }
}

TEST_F(ChatTerminal, KeysCanBeTakenBackAsWholeLetters) {
  Terminal terminal(chat());
  terminal.wait_for(kReady);
  terminal.type("/system 마을물\x7f\r");
  terminal.wait_for("the system message is set");
  terminal.wait_for(kReady);
  terminal.type("/system\r");
  terminal.wait_for("(the system message: 마을;");
  leave(terminal);
}

TEST_F(ChatTerminal, PastedLinesAreOneMessage) {
  // One answer shows its speed once; both ways in which a terminal pastes.
  for (const std::string paste :
       {"\033[200~the village\rshares\r\r마을\033[201~\r", "the village\rshares\r\r마을\r"}) {
    Terminal terminal(chat({"--draft", "1"}));
    terminal.wait_for(kReady);
    terminal.type(paste);
    std::string shown = terminal.wait_for("tokens/s");
    terminal.wait_for(kReady);
    terminal.type("exit\r");
    shown += terminal.rest();
    EXPECT_EQ(count_of(shown, "tokens/s"), 1u) << shown;
    EXPECT_EQ(terminal.exit_code(), 0);
  }
}

TEST_F(ChatTerminal, APasteKeepsItsLineBreaks) {
  Terminal terminal(chat());
  terminal.wait_for(kReady);
  terminal.type("\033[200~/system first\r\tsecond\nthird\033[201~\r");
  terminal.wait_for("the system message is set");
  terminal.wait_for(kReady);
  terminal.type("/system\r");
  terminal.wait_for("(the system message: first\r\n");
  EXPECT_NE(terminal.wait_for("third;").find("second\r\n"), std::string::npos);
  leave(terminal);
}

TEST_F(ChatTerminal, CommandsConfirmOrExplain) {
  const std::vector<std::pair<std::string, std::string>> cases = {
      {"/system", "there is no system message; /system TEXT sets one"},
      {"/system be brief", "the system message is set"},
      {"/think", "(reasoning is on; /think on or /think off changes it)"},
      {"/think off", "(reasoning is off)"},
      {"/think on", "(reasoning is on)"},
      {"/think maybe", "give on or off"},
      {"/reset", "(the conversation is forgotten)"},
      {"/rest", "did you mean /reset?"},
      {"/nonsense", "/help lists them"},
      {"/help", "/reset "},
      {"/?", "/stats "},
      {"/set", "temperature 0, "},
      {"/set temperature 0.7", "(temperature 0.7, "},
      {"/set temperature default", "(temperature default, "},
      {"/set temperature hot", "give a number of at least 0 and at most 2, or \"default\""},
      {"/set tempreature 1", "did you mean temperature?"},
      {"/set top_k", "give a value"},
      {"/set max_tokens 0", "give a whole number of at least 1"},
      {"/stats", "0 answers, 0 tokens)"},
      {"/stats on", "told after every answer"},
      {"/regen", "nothing was asked yet"},
      {"/edit", "nothing was asked yet"},
      {"/show", "[system] be brief"},
      {"/save", "name a file"},
      {"/load /no/such/file", "cannot"},
  };
  for (const char* end : {"/quit", "/exit", "exit", "quit", "\x04"}) {
    Terminal terminal(chat());
    terminal.wait_for("/help lists the commands, /quit leaves.");
    for (const auto& [typed, said] : cases) {
      terminal.wait_for(kReady);
      terminal.type(typed + "\r");
      terminal.wait_for(said);
    }
    terminal.wait_for(kReady);
    terminal.type(std::string(end) + (*end == 4 ? "" : "\r"));
    terminal.rest();
    EXPECT_EQ(terminal.exit_code(), 0) << end;
  }
}

TEST_F(ChatTerminal, TheEndCanBeTypedAheadOfThePrompt) {
  Terminal terminal(chat());
  terminal.type("\x04");  // The terminal is not raw yet: the program still opens the model.
  terminal.wait_for(kReady);
  terminal.rest();
  EXPECT_EQ(terminal.exit_code(), 0);
}

TEST_F(ChatTerminal, AFullContextOffersReset) {
  Terminal terminal(chat({"-c", "40"}));
  std::string shown;
  for (int turn = 0; turn < 12 && shown.find("/reset forgets it") == std::string::npos; ++turn) {
    terminal.wait_for(kReady);
    terminal.type("the work\r");
    shown = terminal.wait_for("\033[?2004l");  // Read; the answer follows.
    shown = terminal.wait_for(kReady);
    terminal.type("\x15\r");  // An empty line, so that the next turn finds the reader anew.
  }
  EXPECT_NE(shown.find("the conversation is full"), std::string::npos) << shown;
  terminal.wait_for(kReady);
  terminal.type("/reset\r");
  terminal.wait_for("forgotten");
  terminal.wait_for(kReady);
  terminal.type("the work\r");
  terminal.wait_for("(cut at 4 tokens");
  terminal.wait_for(kReady);
  leave(terminal);
}

TEST_F(ChatTerminal, CtrlCStopsTheAnswerAndNotTheProgram) {
  copy_with_context("long", 100000);
  Terminal terminal(
      {"chat", at("long"), "--temperature", "0", "--threads", "1", "-n", "90000", "-c", "95000"});
  for (int turn = 0; turn < 2; ++turn) {
    terminal.wait_for(kReady);
    terminal.type("the work\r");
    terminal.wait_for("\033[?2004l");
    ::usleep(300 * 1000);  // In the middle of it.
    terminal.type("\x03");
    terminal.wait_for("(stopped)");
  }
  terminal.wait_for(kReady);
  terminal.type("/stats\r");  // What was said so far is kept.
  terminal.wait_for("2 answers, ");
  terminal.wait_for(kReady);
  leave(terminal);
}

TEST_F(ChatTerminal, CtrlCAtThePromptEmptiesTheLine) {
  Terminal terminal(chat());
  terminal.wait_for(kReady);
  for (const char* typed : {"/system oops\x03", "마을\x03", "\x03", "\"\"\"a\rb\x03"}) {
    terminal.type(typed);
    terminal.wait_for(kReady);
  }
  terminal.type("/system\r");
  terminal.wait_for("(there is no system message;");
  terminal.wait_for(kReady);
  terminal.type("/show\r");
  terminal.wait_for("(nothing was said yet)");
  terminal.wait_for(kReady);
  leave(terminal);
}

TEST_F(ChatTerminal, QuestionsAreAskedAgainAndChanged) {
  Terminal terminal(chat());
  terminal.wait_for(kReady);
  terminal.type("the 마을 shares\r");
  terminal.wait_for("(cut at 4 tokens");
  terminal.wait_for(kReady);
  terminal.type("/regen\r");
  terminal.wait_for("(cut at 4 tokens");
  terminal.wait_for(kReady);
  terminal.type("/edit\r");
  terminal.wait_for(kReady);
  terminal.wait_for("the 마을 shares");  // The question is at the prompt.
  terminal.type("\x7f\x7f work\r");
  terminal.wait_for("(cut at 4 tokens");
  terminal.wait_for(kReady);
  terminal.type("/edit all new\r");
  terminal.wait_for("(cut at 4 tokens");
  terminal.wait_for(kReady);
  terminal.type("again\r");
  terminal.wait_for("(cut at 4 tokens");
  terminal.wait_for(kReady);
  terminal.type("/edit\r");
  terminal.wait_for(kReady);
  terminal.type("\x15 \r");  // Nothing instead.
  terminal.wait_for(kReady);
  terminal.type("/show\r");
  const std::string shown = terminal.wait_for(kReady);
  EXPECT_EQ(count_of(shown, "[user]"), 1u) << shown;
  EXPECT_NE(shown.find("[user] all new"), std::string::npos) << shown;
  leave(terminal);
}

TEST_F(ChatTerminal, ConversationsAreSavedAndGoOn) {
  const std::string file = (folder_->path() / "talk.json").string();
  write_file(folder_->path() / "other.json", "{\"a\": 1}");
  {
    Terminal terminal(chat({"--system", "be brief"}));
    terminal.wait_for(kReady);
    terminal.type("\"\"\"the\r마을\"\"\"\r");
    terminal.wait_for("(cut at 4 tokens");
    terminal.wait_for(kReady);
    terminal.type("/save " + file + "\r");
    terminal.wait_for("(3 messages are in");
    terminal.wait_for(kReady);
    terminal.type("/save " + (folder_->path() / "other.json").string() + "\r");
    terminal.wait_for("holds no conversation");
    terminal.wait_for(kReady);
    leave(terminal);
  }
  const Json saved = parse_json(read_file(file), file);
  EXPECT_EQ(saved.at("messages").at(size_t{1}).at("content").as_string(), "the\n마을");
  Terminal terminal(chat());
  terminal.wait_for(kReady);
  terminal.type("/load " + file + "\r");
  terminal.wait_for("(3 messages;");
  terminal.wait_for(kReady);
  terminal.type("/show\r");
  terminal.wait_for("[system] be brief");
  terminal.wait_for("[assistant]");
  terminal.wait_for(kReady);
  terminal.type("/regen\r");
  terminal.wait_for("(cut at 4 tokens");
  terminal.wait_for(kReady);
  leave(terminal);
}

TEST_F(ChatTerminal, TypedLinesAreKeptForTheNextTime) {
  const TemporaryFolder state;
  {
    Terminal terminal(chat(), nullptr, state.path().string());
    terminal.wait_for(kReady);
    terminal.type("/system 마을 words\r");
    terminal.wait_for("is set");
    terminal.wait_for(kReady);
    leave(terminal);
  }
  const Path file = state.path() / "dure" / "chat_history";
  EXPECT_EQ(std::filesystem::status(file).permissions() & std::filesystem::perms::others_read,
            std::filesystem::perms::none);
  Terminal terminal(chat(), nullptr, state.path().string());
  terminal.wait_for(kReady);
  terminal.type("\033[A\033[A\r");  // Twice up: the last was /quit.
  terminal.wait_for("the system message is set");
  terminal.wait_for(kReady);
  terminal.type("/system\r");
  terminal.wait_for("(the system message: 마을 words;");
  terminal.wait_for(kReady);
  leave(terminal);
}

TEST_F(ChatTerminal, AScriptHasItsCommandsToo) {
  const std::string verb = "chat " + at("model") + " -n 4 --temperature 0";
  const Outcome done = run_program(
      verb,
      {.input = "\"\"\"the\nwork?\n\"\"\"\n/regen\n/edit the village\n/set top_k 3\n/show\n"});
  EXPECT_EQ(done.code, 0) << done.error;
  EXPECT_EQ(count_of(done.out, "[user] the village"), 1u) << done.out;
  EXPECT_EQ(count_of(done.out, "[user]"), 1u) << done.out;
  EXPECT_EQ(done.out.find('\033'), std::string::npos);
  EXPECT_EQ(run_program(verb, {.input = "/regen\n"}).code, 2);
  EXPECT_EQ(run_program(verb, {.input = "x\n/edit\n"}).code, 2);
}

TEST_F(ChatTerminal, FromAPipeTheExitCodeSaysWhatWasNotAnswered) {
  const std::string verb = "chat " + at("model") + " -n 4 --temperature 0";
  const Outcome good = run_program(verb, {.input = "the work?\n"});
  EXPECT_EQ(good.code, 0) << good.error;
  EXPECT_NE(good.error.find("(cut at 4 tokens"), std::string::npos) << good.error;
  std::string many;
  for (int i = 0; i < 12; ++i) many += "the work\n";
  const Outcome full = run_program(verb + " -c 40", {.input = many});
  EXPECT_EQ(full.code, 2);
  EXPECT_NE(full.error.find("/reset forgets it"), std::string::npos) << full.error;
  const Outcome reset = run_program(verb + " -c 40", {.input = "the work\n/reset\nthe work\n"});
  EXPECT_EQ(reset.code, 0) << reset.error;
  const Outcome large = run_program(verb + " -c 6", {.input = "the work\n"});
  EXPECT_EQ(large.code, 2);
  EXPECT_NE(large.error.find("the message does not fit"), std::string::npos) << large.error;
  EXPECT_EQ(run_program(verb, {.input = "/nonsense\n"}).code, 2);
}

TEST_F(ChatTerminal, AContextBeyondTheModelsOwnIsSaid) {
  for (const std::string verb : {"chat", "generate"}) {
    const std::string command = verb + " " + at("model") + " -n 4 -c 99999999";
    const Outcome said = run_program(command, {.input = "x\n", .environment = "DURE_LOG=warn"});
    EXPECT_EQ(said.code, 0) << said.error;
    EXPECT_NE(said.error.find("--context 99999999: the model's own limit of"), std::string::npos)
        << said.error;
  }
  const Outcome silent =
      run_program("generate " + at("model") + " -n 4 -p x", {.environment = "DURE_LOG=warn"});
  EXPECT_EQ(silent.error.find("own limit"), std::string::npos) << silent.error;
}

}  // namespace
}  // namespace dure
