// How verbs end other than well: a signal ends each at the first, whatever it waits for, and what
// cannot be printed is an error. Not here: saved runs (training_e2e_test.cc, rl_e2e_test.cc).
#include "tiny_model.h"

namespace dure {
namespace {

class Endings : public TinyModel {
 protected:
  // The exit code of a verb that waits for standard input, or works long, when `signal` comes.
  static int code_after(const std::string& signal, const std::string& arguments) {
    const std::string line = "cd '" + folder_->path().string() +
                             "' && rm -rf pipe && mkfifo pipe && exec 3<>pipe && "
                             "DURE_PROGRESS=off timeout --preserve-status -k 4 -s " +
                             signal + " 0.5 '" DURE_BINARY "' " + arguments +
                             " < pipe > /dev/null 2>&1 3>&-";
    const int status = std::system(("bash -c \"" + line + "\"").c_str());
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  }
};

TEST_F(Endings, TheFirstSignalEndsEveryVerbThatWaits) {
  for (const char* arguments :
       {"chat model", "score model --ids -", "score model --ids - --logits l.f32",
        "tokenizer encode model", "tokenizer decode model", "render model -",
        "tokenizer train /dev/stdin --out t", "data prepare /dev/zero --out corpus"}) {
    SCOPED_TRACE(arguments);
    EXPECT_EQ(code_after("INT", arguments), 130);
    EXPECT_EQ(code_after("TERM", arguments), 143);
  }
  EXPECT_FALSE(path_exists(at("l.f32")));
  EXPECT_FALSE(path_exists(at("corpus")));
}

TEST_F(Endings, WhatCannotBePrintedIsAnError) {
  if (!std::filesystem::is_character_file("/dev/full")) GTEST_SKIP() << "no /dev/full here";
  for (const char* arguments :
       {"inspect", "plan", "plan --json", "generate -p x -n 2",
        "score --text " DURE_SOURCE_DIR "/tests/program.h", "chat", "render", "tokenizer encode"}) {
    SCOPED_TRACE(arguments);
    const std::string verb = arguments;
    const bool messages = verb == "render";
    const size_t space =
        verb == "tokenizer encode" ? verb.size() : std::min(verb.find(' '), verb.size());
    const Outcome outcome =
        run_program(verb.substr(0, space) + " " + at("model") + verb.substr(space) +
                        (messages ? " -" : "") + " > /dev/full",
                    {.input = messages ? "[{\"role\":\"user\",\"content\":\"x\"}]" : "/help\n"});
    expect_refusal(outcome, "dure: cannot write standard output: No space left on device");
  }
}

}  // namespace
}  // namespace dure
