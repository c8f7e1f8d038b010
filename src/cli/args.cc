// Declares verbs to CLI11, and says in one line what is wrong with a command line, or what a verb
// threw.
#include "cli/args.h"

#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cctype>
#include <cerrno>
#include <charconv>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <set>
#include <sstream>
#include <stdexcept>

#include "base/error.h"
#include "base/file.h"
#include "base/interrupt.h"
#include "base/json.h"
#include "base/log.h"
#include "base/options.h"
#include "cli/version.h"
#include "comm/ranks.h"

namespace dure {
namespace {

constexpr int kExitBadInput = 2;
constexpr const char* kConfigOption = "--config";

template <typename T>
CLI::Option* add_optional(CLI::App& app, const char* names, std::optional<T>& value,
                          const char* help) {
  return app.add_option_function<T>(
      names, [&value](const T& given) { value = given; }, help);
}

// CLI11 takes the nearest number that it can hold; what is no number at all it refuses itself.
void refuse_beyond_int64(CLI::Option* option) {
  option->check([](const std::string& text) -> std::string {
    std::string digits = text;  // CLI11 allows marks between digits.
    std::erase_if(digits, [](char c) { return c == '_' || c == '\''; });
    const bool hex = digits.find("0x") != std::string::npos;
    errno = 0;
    std::strtoll(digits.c_str(), nullptr, hex ? 16 : 10);
    if (errno != ERANGE) return "";
    return fmt::format("{}: give a whole number from {} to {}", text, INT64_MIN, INT64_MAX);
  });
}

// DURE_THREADS carries the number on; what is wrong with it is said of the option that was given.
void set_threads(const std::string& text) {
  int count = 0;
  const auto [end, problem] = std::from_chars(text.data(), text.data() + text.size(), count);
  if (problem != std::errc() || end != text.data() + text.size() || count < 1 || count > 4096) {
    throw CLI::ValidationError(
        fmt::format("--threads {}: give a whole number from 1 to 4096", text));
  }
  ::setenv("DURE_THREADS", text.c_str(), 1);
}

void add_common(CLI::App& app) {
  app.add_option_function<std::string>("--threads", set_threads,
                                       "worker threads (default: DURE_THREADS, else all cores)")
      ->type_name("N");
  app.add_flag_callback(
      "--quiet",
      [] {
        set_log_level(LogLevel::kWarn);
        ::setenv("DURE_PROGRESS", "off", 1);
      },
      "warnings and results only");
  app.add_flag_callback(
      "--verbose", [] { set_log_level(LogLevel::kDebug); }, "debug messages too");
}

// A message may quote what a user's file says: line breaks and control characters are written as
// escapes.
std::string one_line(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (c == '\n') {
      out += "\\n";
    } else if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) {
      out += fmt::format("\\x{:02x}", static_cast<unsigned char>(c));
    } else {
      out += c;
    }
  }
  return out;
}

// The examples of help and README talk of runs/nano, which a clone does not bring.
std::string hint_of(const Error& error) {
  if (error.code() != ErrorCode::kNotFound) return "";
  const std::string_view text = error.what();
  for (const std::string_view recipe : {"nano", "small"}) {
    const size_t at = text.find(fmt::format("runs/{}", recipe));
    if (at == std::string_view::npos) continue;
    const size_t start = text.find_last_of(" '", at) + 1;  // 0 where there is none
    const std::string_view path = text.substr(start, text.find_first_of(" ':,;", at) - start);
    if (path_exists(Path(path))) return "";  // It is something else that is not there.
    const std::string_view rest = text.substr(at + 5 + recipe.size());
    const bool brief = rest.starts_with("-brief");
    return fmt::format("; `./dev quickstart{}{}` makes runs/{}{}",
                       recipe == "nano" ? "" : fmt::format(" --recipe {}", recipe),
                       brief ? " --brief" : "", recipe, brief ? "-brief" : "");
  }
  return "";
}

int report(const Error& error) {
  std::fflush(stdout);
  std::fprintf(stderr, "dure: %s%s\n", one_line(error.what()).c_str(), hint_of(error).c_str());
  return error.code() == ErrorCode::kInterrupted ? interrupt_exit_code() : kExitBadInput;
}

Error out_of_memory() {
  return Error(ErrorCode::kOutOfMemory, "out of memory; `dure plan` shows what a run needs");
}

// What a verb printed may still stand in the buffer: a full disk or a closed pipe shows here, once
// for every verb and for --help. A failure that was said before keeps its own code.
int finish_output(int code) {
  errno = 0;
  const bool written = std::fflush(stdout) == 0 && std::ferror(stdout) == 0;
  if (written || code != 0) return code;
  // The reason of an earlier write is gone: one more tells it. What was written is cut short
  // anyway.
  if (errno == 0 && ::write(STDOUT_FILENO, "\n", 1) == 1) errno = EIO;
  try {
    fail_errno("cannot write standard output");
  } catch (const Error& error) {
    return report(error);
  }
}

int guarded(const std::function<int()>& run) {
  try {
    return run();
  } catch (const Error& error) {
    return report(error);
  } catch (const std::bad_alloc&) {
    return report(out_of_memory());
  } catch (const std::length_error&) {  // A container asked for more than can be addressed.
    return report(out_of_memory());
  } catch (const std::filesystem::filesystem_error& error) {
    return report(Error(ErrorCode::kIo,
                        fmt::format("{}: {}", error.path1().string(), error.code().message())));
  } catch (const std::exception& error) {
    return report(Error(ErrorCode::kIo, fmt::format("unexpected failure ({})", error.what())));
  }
}

std::string suggestion(std::string given, const std::vector<std::string>& names) {
  for (char& c : given) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  // The one name that was begun, else the nearest.
  std::vector<std::string> begun;
  std::copy_if(names.begin(), names.end(), std::back_inserter(begun),
               [&](const std::string& name) { return name.starts_with(given); });
  const std::string near = begun.size() == 1 ? begun[0] : nearest_name(given, names);
  return near.empty() ? "" : fmt::format("; did you mean '{}'?", near);
}

std::vector<std::string> verbs_of(const CLI::App& app) {
  std::vector<std::string> names;
  for (const CLI::App* sub : app.get_subcommands({})) names.push_back(sub->get_name());
  return names;
}

std::vector<std::string> long_options_of(const CLI::App& app) {
  std::vector<std::string> names;
  for (const CLI::Option* option : app.get_options()) {
    for (const std::string& name : option->get_lnames()) names.push_back("--" + name);
  }
  return names;
}

// CLI11 says of an unknown option before a missing positional only that one is required.
std::string problem_of(const CLI::App& app, const CLI::ParseError& error) {
  const std::vector<std::string> unknown = app.remaining();
  if (unknown.empty()) return error.what();
  const std::string option = unknown[0].substr(0, unknown[0].find('='));
  if (!option.starts_with('-') && app.get_option_no_throw("--prompt") != nullptr)
    return fmt::format("unknown argument '{0}'; a text is given as -p '{0}'", unknown[0]);
  return fmt::format("unknown argument '{}'{}", unknown[0],
                     option.starts_with("--") ? suggestion(option, long_options_of(app)) : "");
}

int refuse_usage(const std::string& where, const std::string& problem) {
  leave_to_first_rank();
  std::fprintf(stderr, "%s: %s; see `%s --help`\n", where.c_str(), one_line(problem).c_str(),
               where.c_str());
  return kExitBadInput;
}

// What a CLI11 parse error becomes: its own help text for --help, one line with a pointer to --help
// otherwise.
int report_usage(const CLI::App& app, const CLI::ParseError& error) {
  if (error.get_exit_code() == 0) {
    std::ostringstream text;  // Printed as everything is: a failure is seen at the end.
    const int code = app.exit(error, text);
    std::fputs(text.str().c_str(), stdout);
    return code;
  }
  std::string where = "dure";
  const CLI::App* sub = &app;
  while (!sub->get_subcommands().empty()) {
    sub = sub->get_subcommands().front();
    where += " " + sub->get_name();
  }
  return refuse_usage(where, problem_of(*sub, error));
}

// The words in which people ask a program what it is, as the options that CLI11 knows:
// nothing, `help`, `help VERB`, `VERB help` where a verb has verbs of its own, `version`.
std::vector<std::string> plain_words(std::vector<std::string> words, const CLI::App& app) {
  if (words.empty()) return {"--help"};
  if (words == std::vector<std::string>{"version"}) return {"--version"};
  if (words[0] == "help") {
    words.erase(words.begin());
    if (words == std::vector<std::string>{"help"} || words == std::vector<std::string>{"version"})
      return {"--help"};
    words.emplace_back("--help");
    return words;
  }
  const std::vector<std::string> verbs = verbs_of(app);
  const bool group = std::find(verbs.begin(), verbs.end(), words[0]) != verbs.end() &&
                     !verbs_of(*app.get_subcommand(words[0])).empty();
  if (group && words.size() == 1) words.emplace_back("--help");
  if (group && words[1] == "help") words[1] = "--help";
  return words;
}

// "--threads 2 train": what belongs behind the verb stands before it.
std::optional<int> refuse_early_option(const CLI::App& app, const std::vector<std::string>& words) {
  const std::vector<std::string> verbs = verbs_of(app);
  const std::string option = words[0].substr(0, words[0].find('='));
  const auto verb = std::find_first_of(words.begin(), words.end(), verbs.begin(), verbs.end());
  if (!option.starts_with('-') || app.get_option_no_throw(option) != nullptr || verb == words.end())
    return std::nullopt;
  return refuse_usage("dure",
                      fmt::format("'{}' stands before the verb; options follow it: `dure {} "
                                  "{}`",
                                  option, *verb, option));
}

// Looked at before CLI11 parses: it would take `trian --help` for a question about the program.
std::optional<int> refuse_unknown_verb(const CLI::App& app, const std::vector<std::string>& words) {
  std::string where = "dure";
  const CLI::App* at = &app;
  for (const std::string& word : words) {
    const std::vector<std::string> verbs = verbs_of(*at);
    if (verbs.empty() || word.starts_with('-')) break;
    if (std::find(verbs.begin(), verbs.end(), word) == verbs.end())
      return refuse_usage(where, fmt::format("unknown verb '{}'{}", word, suggestion(word, verbs)));
    at = at->get_subcommand(word);
    where += " " + word;
  }
  return std::nullopt;
}

// ---- --config FILE: what stands there, as words of the command line

struct GivenWords {
  std::set<const CLI::Option*> options;
  bool positional = false;
  std::optional<std::string> config;
};

GivenWords given_words(const CLI::App& verb, const std::vector<std::string>& words) {
  GivenWords out;
  for (size_t i = 1; i < words.size(); ++i) {
    if (!words[i].starts_with('-') || words[i] == "-") {
      out.positional = true;
      continue;
    }
    const size_t equals = words[i].find('=');
    const CLI::Option* option = verb.get_option_no_throw(words[i].substr(0, equals));
    if (option == nullptr) continue;
    out.options.insert(option);
    std::string value = equals == std::string::npos ? "" : words[i].substr(equals + 1);
    const bool takes = option->get_items_expected_max() > 0;
    if (takes && equals == std::string::npos && i + 1 < words.size()) value = words[++i];
    if (option->check_name(kConfigOption)) out.config = value;
  }
  return out;
}

std::string configured_text(const Json& value, const std::string& where) {
  if (value.is_string()) return value.as_string();
  if (value.is_bool() || value.is_number()) return value.dump();
  fail(ErrorCode::kInvalidArgument, "{}: give a text, a number, or a list of them, not {}", where,
       value.kind_name());
}

void append_option(const CLI::Option& option, const std::string& name, const Json& value,
                   const std::string& where, std::vector<std::string>& out) {
  if (option.get_items_expected_max() == 0) {
    if (value.as_bool(where)) out.push_back(name);
    return;
  }
  const bool repeated = option.get_multi_option_policy() == CLI::MultiOptionPolicy::TakeAll;
  if (!value.is_array()) return out.push_back(name + "=" + configured_text(value, where));
  if (!repeated) fail(ErrorCode::kInvalidArgument, "{}: takes one value, not a list", where);
  for (const Json& one : value.as_array()) out.push_back(name + "=" + configured_text(one, where));
}

void add_configured(const CLI::App& app, std::vector<std::string>& words) {
  if (words[0].starts_with('-')) return;
  const CLI::App* verb = app.get_subcommand(words[0]);
  if (verb->get_option_no_throw(kConfigOption) == nullptr) return;
  const GivenWords given = given_words(*verb, words);
  if (!given.config) return;
  const Json settings = load_yaml(*given.config);
  std::vector<std::string> added, positionals;
  for (const auto& [key, value] : settings.as_object(*given.config)) {
    const std::string where = fmt::format("{}: {}", *given.config, key), name = "--" + key;
    std::string upper = key;
    for (char& c : upper) c = static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
    const CLI::Option* positional = verb->get_option_no_throw(upper);
    if (positional != nullptr && positional->get_positional()) {
      if (!given.positional) positionals.push_back(configured_text(value, where));
      continue;
    }
    const CLI::Option* option = verb->get_option_no_throw(name);
    if (option == nullptr || option->check_name(kConfigOption) || key == "help") {
      fail(ErrorCode::kInvalidArgument, "{}: no option of `dure {}`{}", where, words[0],
           suggestion(name, long_options_of(*verb)));
    }
    if (!given.options.contains(option)) append_option(*option, name, value, where, added);
  }
  words.insert(words.begin() + 1, added.begin(), added.end());
  words.insert(words.end(), positionals.begin(), positionals.end());
}

}  // namespace

void Args::positional(const char* name, std::string& value, const char* help, bool required) {
  CLI::Option* option = app_.add_option(name, value, help);
  if (required) option->required();
}
void Args::positionals(const char* name, std::vector<std::string>& values, const char* help,
                       bool required) {
  CLI::Option* option = app_.add_option(name, values, help);
  if (required) option->required();
}
void Args::option(const char* names, std::string& value, const char* help) {
  app_.add_option(names, value, help)->capture_default_str();
}
void Args::option(const char* names, int64_t& value, const char* help) {
  refuse_beyond_int64(app_.add_option(names, value, help)->capture_default_str());
}
void Args::option(const char* names, double& value, const char* help) {
  app_.add_option(names, value, help)->capture_default_str();
}
void Args::option(const char* names, std::optional<std::string>& value, const char* help) {
  add_optional(app_, names, value, help);
}
void Args::option(const char* names, std::optional<int64_t>& value, const char* help) {
  refuse_beyond_int64(add_optional(app_, names, value, help));
}
void Args::option(const char* names, std::optional<double>& value, const char* help) {
  add_optional(app_, names, value, help);
}
void Args::options(const char* names, std::vector<std::string>& values, const char* help) {
  // No extra arguments: CLI11 would take "[PAD]" for a list and drop its brackets.
  app_.add_option(names, values, help)->expected(1)->take_all()->allow_extra_args(false);
}
void Args::flag(const char* names, bool& value, const char* help) {
  app_.add_flag(names, value, help);
}
void Args::config_file() {
  app_.add_option(kConfigOption, "YAML file of these options, NAME: VALUE; the command line wins")
      ->type_name("FILE");
}
void Args::examples(const char* text) {
  std::string footer = "\nExamples:";
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);)
    footer += "\n  " + line.substr(std::min(line.find_first_not_of(' '), line.size()));
  app_.footer(footer);
}

Args& Args::verb(const char* name, const char* summary, std::function<int()> run) {
  CLI::App* sub = app_.add_subcommand(name, summary);
  add_common(*sub);
  app_.require_subcommand(1);
  sub->final_callback([run = std::move(run)] {
    if (const int code = guarded(run); code != 0) throw CLI::RuntimeError(code);
  });
  children_.push_back(std::make_unique<Args>(*sub));
  return *children_.back();
}

namespace {

int parse_and_run(int argc, char** argv, const std::vector<Verb>& verbs) {
  CLI::App app{"Dure: a K-EXAONE-class language model through its whole life", "dure"};
  app.set_version_flag("-V,--version", version_text);
  app.require_subcommand(1);
  app.footer(
      "\n`dure help VERB` explains a verb, with examples. `./dev quickstart` in Dure's source "
      "folder "
      "makes a first model, runs/nano.");
  std::vector<std::unique_ptr<Args>> all_args;
  for (const Verb& verb : verbs) {
    CLI::App* sub = app.add_subcommand(verb.name, verb.summary);
    all_args.push_back(std::make_unique<Args>(*sub));
    std::function<int()> run = verb.declare(*all_args.back());
    if (!run) continue;  // Sub-verbs run themselves.
    add_common(*sub);
    sub->final_callback([run = std::move(run)] {
      if (const int code = guarded(run); code != 0) throw CLI::RuntimeError(code);
    });
  }
  std::vector<std::string> words = plain_words({argv + 1, argv + argc}, app);
  if (const std::optional<int> refused = refuse_early_option(app, words)) return *refused;
  if (const std::optional<int> refused = refuse_unknown_verb(app, words)) return *refused;
  try {
    if (!words.empty()) add_configured(app, words);
  } catch (const Error& error) {
    return report(error);
  }
  std::reverse(words.begin(), words.end());  // As CLI11 wants a vector.
  try {
    app.parse(words);
  } catch (const CLI::RuntimeError& error) {
    return error.get_exit_code();
  } catch (const CLI::ParseError& error) {
    return report_usage(app, error);
  }
  return 0;
}

}  // namespace

int run_command_line(int argc, char** argv, const std::vector<Verb>& verbs) {
  install_interrupt_handler();
  return finish_output(parse_and_run(argc, argv, verbs));
}

}  // namespace dure
