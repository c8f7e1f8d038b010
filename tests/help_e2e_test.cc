// What `dure --help` owes, and what is installed with it: every verb, in order of the alphabet,
// each with help of its own and an example that names it; README lists the same verbs.
#include <sstream>
#include <vector>

#include "program.h"

namespace dure {
namespace {

// The names under "Subcommands:" of a help text.
std::vector<std::string> verbs_of(const std::string& help) {
  std::vector<std::string> names;
  std::istringstream lines(help.substr(std::min(help.find("Subcommands:"), help.size())));
  std::string line;
  std::getline(lines, line);
  while (std::getline(lines, line) && line.starts_with("  ")) {
    std::string name;
    std::istringstream(line) >> name;
    if (line.find_first_not_of(' ') == 2) names.push_back(name);
  }
  return names;
}

void expect_help(const std::string& verb) {
  SCOPED_TRACE(verb);
  const Outcome outcome = run_program(verb + " --help");
  EXPECT_EQ(outcome.code, 0);
  EXPECT_EQ(outcome.error, "");
  const std::vector<std::string> inner = verbs_of(outcome.out);
  for (const std::string& sub : inner) expect_help(verb + " " + sub);
  if (!inner.empty()) return;
  const size_t examples = outcome.out.find("Examples:\n");
  ASSERT_NE(examples, std::string::npos) << outcome.out;
  EXPECT_NE(outcome.out.find("dure " + verb, examples), std::string::npos) << outcome.out;
  expect_refusal(run_program(verb + " --no-such-option"), "--help");
}

TEST(Help, EveryVerbHasExamplesAndStandsInTheReadme) {
  const Outcome outcome = run_program("--help");
  ASSERT_EQ(outcome.code, 0) << outcome.error;
  const std::vector<std::string> verbs = verbs_of(outcome.out);
  ASSERT_GE(verbs.size(), 13u) << outcome.out;
  EXPECT_TRUE(std::is_sorted(verbs.begin(), verbs.end())) << outcome.out;
  const std::string readme = read_file(Path(DURE_SOURCE_DIR) / "README.md");
  for (const std::string& verb : verbs) {
    expect_help(verb);
    EXPECT_NE(readme.find("dure " + verb), std::string::npos) << verb << " is not in README.md";
  }
}

TEST(Help, UnknownVerbsAreOneLineWithTheNearest) {
  expect_refusal(run_program("trian"), "unknown verb 'trian'; did you mean 'train'?");
  expect_refusal(run_program("trian --help"), "did you mean 'train'?");
  expect_refusal(run_program("help trian"), "did you mean 'train'?");
  expect_refusal(run_program("tokenizer encod"), "did you mean 'encode'?");
  expect_refusal(run_program("DOCTOR"), "did you mean 'doctor'?");
  expect_refusal(run_program("--threads 2 doctor"), "'--threads' stands before the verb");
  expect_refusal(run_program("--quiet doctor"), "`dure doctor --quiet`");
  expect_refusal(run_program("--verison"), "did you mean '--version'?");
  expect_refusal(run_program("xyzzy"), "unknown verb 'xyzzy'; see");
  expect_refusal(run_program("chat m --temprature 1"), "did you mean '--temperature'?");
  expect_refusal(run_program("chat m --temprature=1"), "did you mean '--temperature'?");
}

TEST(Help, PlainWordsAreUnderstood) {
  const auto same = [](const std::string& words, const std::string& options) {
    SCOPED_TRACE(words);
    const Outcome said = run_program(words);
    EXPECT_EQ(said.code, 0) << said.error;
    EXPECT_EQ(said.error, "");
    EXPECT_EQ(said.out, run_program(options).out);
  };
  for (const char* words : {"", "help", "help help", "-h"}) same(words, "--help");
  same("help chat", "chat --help");
  same("help tokenizer train", "tokenizer train --help");
  for (const char* words : {"tokenizer", "tokenizer help", "help tokenizer"})
    same(words, "tokenizer --help");
  same("version", "--version");
}

TEST(Help, TheVersionTellsTheBuild) {
  const Outcome said = run_program("--version");
  EXPECT_EQ(said.code, 0);
  EXPECT_TRUE(said.out.starts_with("dure 0.1.0\n")) << said.out;
  for (const char* fact : {"commit: ", "compiler: ", "build: ", "instruction sets: "})
    EXPECT_NE(said.out.find(fact), std::string::npos) << fact;
  EXPECT_NE(
      run_program("--version", {.environment = "DURE_ISA=generic"}).out.find("generic in use"),
      std::string::npos);
}

TEST(Help, ThreadsThatCannotBeBlameTheOption) {
  for (const std::string count : {"0", "-1", "x", "1.5", "4097", "99999999999", "\"\""}) {
    expect_refusal(run_program("doctor --threads=" + count), "--threads");
  }
  expect_refusal(run_program("doctor --threads 0"), "--threads 0: give a whole number from 1");
}

TEST(Help, WhatCannotBePrintedIsAnError) {
  if (!std::filesystem::is_character_file("/dev/full")) GTEST_SKIP() << "no /dev/full here";
  for (const char* words : {"--help", "--version", "doctor", "train --fields", "bench --help"}) {
    SCOPED_TRACE(words);
    expect_refusal(run_program(words + std::string(" > /dev/full")),
                   "dure: cannot write standard output: No space left on device");
  }
}

TEST(Help, NumbersThatNoIntegerHoldsAreRefused) {
  for (const char* words : {"generate m -p x --seed 99999999999999999999999",
                            "generate m -p x --seed=-99999999999999999999999",
                            "chat m --max-tokens 999999999999999999999", "plan m --rows 1e30",
                            "plan m --context 0xffffffffffffffffffff",
                            "tokenizer train t --vocab-size 9223372036854775808"}) {
    SCOPED_TRACE(words);
    const std::string text = words;
    const size_t value = text.find_last_of(" =");
    const Outcome outcome = run_program(text);
    expect_refusal(outcome, text.substr(value + 1));
    const size_t name = text.find("--");
    EXPECT_NE(outcome.error.find(text.substr(name, value - name)), std::string::npos)
        << outcome.error;
  }
  expect_refusal(run_program("generate m -p x --seed 99999999999999999999"),
                 "--seed: 99999999999999999999: give a whole number from -9223372036854775808 to "
                 "9223372036854775807");
  expect_refusal(run_program("generate m -p x -n 999999999999999999999"), "999999999999999999999:");
}

TEST(Help, AFieldThatSetGaveIsBlamedOnSet) {
  const auto refuse = [](const std::string& arguments, const std::string& part) {
    SCOPED_TRACE(arguments);
    expect_refusal(run_program(arguments), "dure: " + part);
  };
  const std::string nano = DURE_SOURCE_DIR "/recipes/nano/";
  refuse("train " + nano + "pretrain.yaml --set steps=-1",
         "--set steps=-1: steps is -1: it must be at least 0");
  refuse("train " + nano + "pretrain.yaml --set optimiser.clip_norm=-1",
         "--set optimiser.clip_norm=-1: optimiser: clip_norm is -1");
  refuse("train " + nano + "pretrain.yaml --set stepz=1", "--set stepz=1: unknown field 'stepz'");
  refuse("rl " + nano + "rl.yaml --set steps=2 --set rollout.group_size=x",
         "--set rollout.group_size=x: rollout: group_size should be an integer");
  refuse("eval m --set tasks.sampels=1", "--set tasks.sampels=1: tasks: unknown field 'sampels'");
  refuse("data prepare x --out o --set seed=x", "--set seed=x: seed should be an integer");
}

TEST(Help, FieldsHaveTypesDefaultsAndMeanings) {
  const auto lines_of = [](const std::string& verb) {
    const Outcome outcome = run_program(verb + " --fields");
    EXPECT_EQ(outcome.code, 0) << outcome.error;
    return "\n" + outcome.out;
  };
  const std::string train = lines_of("train");
  for (const char* line :
       {"\n  batch.rows = 16   rows of a step (integer, at least 1)\n",
        "\n  record.tensorboard = true   write TensorBoard event files too (true | false)\n",
        "\nmodel: a new model", "\n  model.hidden_size = needed   width of the residual stream",
        "\n  model.rope_parameters.rope_theta = ", "\n  model.num_experts_per_tok = "})
    EXPECT_NE(train.find(line), std::string::npos) << line << train;
  EXPECT_NE(lines_of("rl").find("\n  rollout.group_size = 8   answers sampled to each problem "
                                "(integer, from 2 to 4096)\n"),
            std::string::npos);
  EXPECT_NE(lines_of("eval").find("\n  tasks.sampling.top_p = 0.95   nucleus share (number"),
            std::string::npos);
  EXPECT_NE(lines_of("data prepare").find("(list of objects)\n"), std::string::npos);
  for (const char* verb : {"train", "rl", "eval", "data prepare"})
    EXPECT_EQ(lines_of(verb).find("e+0"), std::string::npos) << verb;
}

TEST(Help, WhatTheQuickstartMakesIsSaidWhereItIsMissing) {
  const auto refuse = [](const std::string& arguments, const std::string& part) {
    SCOPED_TRACE(arguments);
    const TemporaryFolder empty;
    const Outcome outcome = run_program(
        arguments, {.environment = "cd '" + empty.path().string() + "' && DURE_LOG=error"});
    expect_refusal(outcome, part);
  };
  refuse("generate runs/nano/rl/model --chat -p '47+85=?'", "`./dev quickstart` makes runs/nano");
  refuse("chat runs/nano/rl/model", "`./dev quickstart` makes runs/nano");
  refuse("train " DURE_SOURCE_DIR "/recipes/nano/pretrain.yaml", "`./dev quickstart` makes");
  refuse("train " DURE_SOURCE_DIR "/recipes/nano/sft.yaml", "`./dev quickstart` makes");
  refuse("rl " DURE_SOURCE_DIR "/recipes/nano/rl.yaml", "`./dev quickstart` makes");
  refuse("prefer " DURE_SOURCE_DIR "/recipes/nano/prefer.yaml", "`./dev quickstart` makes");
  refuse("plan " DURE_SOURCE_DIR "/recipes/nano/rl.yaml", "`./dev quickstart` makes");
  refuse("inspect runs/nano-brief/release", "`./dev quickstart --brief` makes runs/nano-brief");
  refuse("inspect runs/small/release", "`./dev quickstart --recipe small` makes runs/small");
}

// What a shell prints, without its last line break.
std::string shell_output(const std::string& command) {
  std::FILE* pipe = ::popen(command.c_str(), "r");
  std::string out;
  for (int c = 0; (c = std::fgetc(pipe)) != EOF;) out += static_cast<char>(c);
  EXPECT_EQ(::pclose(pipe), 0) << command;
  while (out.ends_with('\n')) out.pop_back();
  return out;
}

TEST(Install, BringsProgramManualCompletionRecipesAndDocs) {
  const TemporaryFolder folder;
  const Path prefix = folder.path() / "a prefix";
  shell_output("cmake --install '" + Path(DURE_BINARY).parent_path().string() + "' --prefix '" +
               prefix.string() + "'");
  EXPECT_TRUE(
      shell_output("'" + (prefix / "bin/dure").string() + "' version").starts_with("dure "));
  for (const char* file :
       {"share/dure/recipes/nano/pretrain.yaml", "share/dure/recipes/quickstart.sh",
        "share/doc/dure/README.md", "share/doc/dure/docs/README.md"})
    EXPECT_TRUE(path_exists(prefix / file)) << file;
  const std::string page = read_file(prefix / "share/man/man1/dure.1");
  for (const std::string& verb : verbs_of(run_program("--help").out))
    EXPECT_NE(page.find(".SH \"dure " + verb), std::string::npos) << verb;
  EXPECT_NE(page.find("dure tokenizer train"), std::string::npos);
  EXPECT_NE(page.find("\\-\\-max\\-tokens"), std::string::npos);
  const auto completed = [&](const std::string& words, int at) {
    return shell_output("bash -c '. \"$1\"; COMP_WORDS=(" + words + "); COMP_CWORD=" +
                        std::to_string(at) + "; _dure; echo \"${COMPREPLY[*]}\"' - '" +
                        (prefix / "share/bash-completion/completions/dure").string() + "'");
  };
  EXPECT_EQ(completed("dure tok", 1), "tokenizer");
  EXPECT_EQ(completed("dure data pre", 2), "prepare");
  EXPECT_EQ(completed("dure chat runs/x --temp", 3), "--temperature");
  EXPECT_EQ(completed("dure help rend", 2), "render");
  EXPECT_EQ(completed("dure tokenizer train --vocab", 3), "--vocab-size");
}

}  // namespace
}  // namespace dure
