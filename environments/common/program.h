// environments/common/program.h: what every environment program is made of.
//
// Owns the command line (a mode and its options, each mode one plain struct), the loop that speaks
// the protocol of docs/environments.md on standard input and output, and the pieces of its replies.
// Not here: what an environment does (plant/, molecules/).
#pragma once

#include <fmt/core.h>

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "base/options.h"

namespace dure::environments {

// One episode under way. Nothing that a model says makes these throw.
class Session {
 public:
  virtual ~Session() = default;
  virtual Json start() = 0;                         // {"messages", "tools"}
  virtual Json reply(const Json& answer) = 0;       // {"messages"}, or {"done": true}
  virtual Json finish(const std::string& end) = 0;  // {"reward", "parts", "text"}
};

// An episode in which a model calls one tool, so often and not more; it ends with an answer that
// calls nothing. A call that cannot be read is one too.
class ToolSession : public Session {
 public:
  Json start() final;
  Json reply(const Json& answer) final;

 protected:
  // `unit`: what a call is, for messages: "experiment".
  ToolSession(std::string question, Json tool, int64_t budget, std::string unit);
  virtual int64_t used() const = 0;  // calls
  virtual bool is_solved() const { return false; }
  virtual std::string run(const Json& call) = 0;  // What the tool says; the call counts as used.
  int64_t budget() const { return budget_; }

 private:
  Json run_call(const Json& call);
  std::string question_, unit_;
  Json tool_;
  int64_t budget_;
};

// The calls that an item allows, 1 to 1000. Throws kInvalidArgument.
int64_t read_budget(const Json& fields, const std::string& name);

// Of a request `start`. Throws Error where the item is none of this environment's.
using Begin =
    std::function<std::unique_ptr<Session>(const Json& item, uint64_t seed, int64_t sample)>;

// Answers requests until standard input ends.
void serve(const Begin& begin);
// One line; for tests and for serve(). `sessions` belongs to one process.
class Server {
 public:
  explicit Server(Begin begin) : begin_(std::move(begin)) {}
  std::string answer(const std::string& line);

 private:
  Json reply_to(const Json& request);
  Begin begin_;
  std::vector<std::pair<std::string, std::unique_ptr<Session>>> sessions_;
};

// {"role": "tool", ...}, {"role": "user", ...}, {"role": "assistant", "content"}.
Json tool_message(const Json& call_id, const std::string& content);
Json user_message(const std::string& content);
Json assistant_message(const std::string& content);
// An assistant's call of one tool, as OpenAI writes it.
Json call_message(const std::string& id, const std::string& tool, const Json& arguments);

// The arguments of a call of `tool`: an object, or the JSON text of one; null where they are
// neither, or another tool is called.
Json call_arguments(const Json& call, std::string_view tool);

// The median of so many calls, or that it is above the budget.
std::string median_text(std::vector<int64_t> needed, int64_t budget);

struct NoOptions {
  template <typename V>
  void visit(V&) {}
};

// A mode of a program. `run` is given the options as an object.
struct Mode {
  std::string name;
  std::string help;
  std::string fields;  // describe() of its options
  std::function<void(const Json& options)> run;
};

template <typename Options>
Mode mode(const std::string& name, const std::string& help,
          const std::function<void(const Options&)>& run) {
  return {name, help, describe<Options>(), [name, run](const Json& fields) {
            Options options;
            from_json(options, fields, name);
            run(options);
          }};
}

// PROGRAM [MODE] [--FIELD VALUE ...]; without a mode the first one. Exit status: 0, or 2 with one
// line on standard error.
int run_program(int argc, char** argv, const std::string& about, const std::vector<Mode>& modes);

}  // namespace dure::environments
