// cli/args.h: the command line of one verb: options, flags, positionals, help with examples.
//
// A thin face over CLI11, whose header costs seconds a file (args.cc alone includes it). Every verb
// accepts
// --help, --threads, --quiet and --verbose. Bad usage is an Error kInvalidArgument: one line, exit
// code 2.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace CLI {
class App;
}

namespace dure {

class Args {
 public:
  explicit Args(CLI::App& app) : app_(app) {}

  void positional(const char* name, std::string& value, const char* help, bool required = true);
  void positionals(const char* name, std::vector<std::string>& values, const char* help,
                   bool required = true);
  // `names` as CLI11 writes them: "-p,--prompt". The default is what the variable holds.
  void option(const char* names, std::string& value, const char* help);
  void option(const char* names, int64_t& value, const char* help);
  void option(const char* names, double& value, const char* help);
  void option(const char* names, std::optional<std::string>& value, const char* help);
  void option(const char* names, std::optional<int64_t>& value, const char* help);
  void option(const char* names, std::optional<double>& value, const char* help);
  void options(const char* names, std::vector<std::string>& values,
               const char* help);  // May be repeated.
  void flag(const char* names, bool& value, const char* help);
  // --config FILE: options of this verb as YAML, NAME: VALUE, a list for one that may be repeated;
  // also the positional, in lower case. The command line wins.
  void config_file();
  void examples(const char* text);  // Shown under the options in --help.
  // A sub-verb such as `tokenizer train`. Its options are added to the Args it returns.
  Args& verb(const char* name, const char* summary, std::function<int()> run);

 private:
  CLI::App& app_;
  std::vector<std::unique_ptr<Args>> children_;
};

// A verb: adds its options in `declare`, which returns what to run once they are parsed (exit code
// returned).
struct Verb {
  const char* name;
  const char* summary;
  std::function<int()> (*declare)(Args& args);
};

int run_command_line(int argc, char** argv, const std::vector<Verb>& verbs);

}  // namespace dure
