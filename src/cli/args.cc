#include "cli/args.h"

#include <CLI/CLI.hpp>
#include <cstdio>
#include <cstdlib>
#include <sstream>

#include "base/error.h"
#include "base/interrupt.h"
#include "base/log.h"

namespace dure {
namespace {

constexpr int kExitBadInput = 2;

template <typename T>
void add_optional(CLI::App& app, const char* names, std::optional<T>& value, const char* help) {
  app.add_option_function<T>(
      names, [&value](const T& given) { value = given; }, help);
}

void add_common(CLI::App& app) {
  app.add_option_function<std::string>(
         "--threads", [](const std::string& count) { ::setenv("DURE_THREADS", count.c_str(), 1); },
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

int report(const Error& error) {
  std::fflush(stdout);
  std::fprintf(stderr, "dure: %s\n", one_line(error.what()).c_str());
  return error.code() == ErrorCode::kInterrupted ? interrupt_exit_code() : kExitBadInput;
}

int guarded(const std::function<int()>& run) {
  try {
    return run();
  } catch (const Error& error) {
    return report(error);
  } catch (const std::bad_alloc&) {
    return report(
        Error(ErrorCode::kOutOfMemory, "out of memory; `dure plan` shows what a run needs"));
  } catch (const std::exception& error) {
    return report(Error(ErrorCode::kIo, error.what()));
  }
}

// CLI11 says of an unknown verb only that one is required, and of an unknown option before a
// missing positional likewise.
std::string problem_of(const CLI::App& app, const CLI::ParseError& error) {
  const std::vector<std::string> unknown = app.remaining();
  if (unknown.empty() || error.get_name() != "RequiredError") return error.what();
  const bool has_verbs = !app.get_subcommands({}).empty();
  return fmt::format("unknown {} '{}'", has_verbs ? "verb" : "argument", unknown[0]);
}

// What a CLI11 parse error becomes: its own help text for --help, one line with a pointer to --help
// otherwise.
int report_usage(const CLI::App& app, const CLI::ParseError& error) {
  if (error.get_exit_code() == 0) return app.exit(error);
  std::string where = "dure";
  const CLI::App* sub = &app;
  while (!sub->get_subcommands().empty()) {
    sub = sub->get_subcommands().front();
    where += " " + sub->get_name();
  }
  std::fprintf(stderr, "%s: %s; see `%s --help`\n", where.c_str(),
               one_line(problem_of(*sub, error)).c_str(), where.c_str());
  return kExitBadInput;
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
  app_.add_option(names, value, help)->capture_default_str();
}
void Args::option(const char* names, double& value, const char* help) {
  app_.add_option(names, value, help)->capture_default_str();
}
void Args::option(const char* names, std::optional<std::string>& value, const char* help) {
  add_optional(app_, names, value, help);
}
void Args::option(const char* names, std::optional<int64_t>& value, const char* help) {
  add_optional(app_, names, value, help);
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

int run_command_line(int argc, char** argv, const std::vector<Verb>& verbs) {
  install_interrupt_handler();
  CLI::App app{"Dure: a K-EXAONE-class language model through its whole life"};
  app.set_version_flag("--version", "dure 0.1.0");
  app.require_subcommand(1);
  app.footer(
      "\n`dure VERB --help` explains a verb, with examples. `dure train "
      "recipes/nano/pretrain.yaml` is a start.");
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
  try {
    app.parse(argc, argv);
  } catch (const CLI::RuntimeError& error) {
    return error.get_exit_code();
  } catch (const CLI::ParseError& error) {
    return report_usage(app, error);
  }
  return 0;
}

}  // namespace dure
