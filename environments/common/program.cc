// Options become a JSON object, which base/options.h checks; the loop reads a line, writes a line
// and flushes it.
#include "common/program.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <iostream>

#include "base/error.h"

namespace dure::environments {
namespace {

// "--new-tokens 5" and "--new-tokens=5" are new_tokens: 5.
Json read_options(const std::vector<std::string>& arguments) {
  Json options = Json::object();
  for (size_t i = 0; i < arguments.size(); ++i) {
    std::string name = arguments[i];
    if (!name.starts_with("--"))
      fail(ErrorCode::kInvalidArgument, "unexpected argument '{}': options are --NAME VALUE", name);
    std::string value;
    if (const size_t equals = name.find('='); equals != std::string::npos) {
      value = name.substr(equals + 1);
      name.resize(equals);
    } else if (i + 1 < arguments.size()) {
      value = arguments[++i];
    } else {
      fail(ErrorCode::kInvalidArgument, "{} needs a value", name);
    }
    name.erase(0, 2);
    std::replace(name.begin(), name.end(), '-', '_');
    set_path(options, name + "=" + value);
  }
  return options;
}

std::string help_text(const std::string& program, const std::string& about,
                      const std::vector<Mode>& modes) {
  std::string text = about + "\n\n";
  for (const Mode& mode : modes)
    text += fmt::format("{} {}\n    {}\n{}\n", program, mode.name, mode.help, mode.fields);
  return text;
}

void run_mode(int argc, char** argv, const std::string& about, const std::vector<Mode>& modes) {
  std::vector<std::string> arguments(argv + 1, argv + argc);
  std::string name = modes.front().name;
  if (!arguments.empty() && (!arguments[0].starts_with("--") || arguments[0] == "--help" ||
                             arguments[0] == "--self-test")) {
    name = arguments[0] == "--self-test" ? "self-test" : arguments[0];
    arguments.erase(arguments.begin());
  }
  const bool asked = arguments == std::vector<std::string>{"--help"};
  if (asked || name == "--help" || name == "-h" || name == "help") {
    std::cout << help_text(Path(argv[0]).filename().string(), about, modes);
    return;
  }
  std::vector<std::string> names;
  for (const Mode& mode : modes) {
    if (mode.name == name) return mode.run(read_options(arguments));
    names.push_back(mode.name);
  }
  fail(ErrorCode::kInvalidArgument, "no mode '{}': there are {}", name, fmt::join(names, ", "));
}

}  // namespace

std::string Server::answer(const std::string& line) {
  const Json request = parse_json(line, "request");
  Json out = Json::object();
  out["id"] = request.at("id");
  const Json reply = reply_to(request);
  for (const auto& [key, value] : reply.as_object()) out[key] = value;
  return out.dump();
}

Json Server::reply_to(const Json& request) {
  const std::string& call = request.at("call").as_string("call");
  const std::string& episode = request.at("episode").as_string("episode");
  if (call == "start") {
    const Json* sample = request.find("sample");
    auto session =
        begin_(request.at("item"), static_cast<uint64_t>(request.at("seed").as_int("seed")),
               sample == nullptr ? 0 : sample->as_int("sample"));
    Json reply = session->start();
    sessions_.emplace_back(episode, std::move(session));
    return reply;
  }
  const auto found = std::find_if(sessions_.begin(), sessions_.end(),
                                  [&](const auto& s) { return s.first == episode; });
  if (found == sessions_.end())
    fail(ErrorCode::kInvalidArgument, "request: no episode '{}' is under way", episode);
  if (call == "reply") return found->second->reply(request.at("answer"));
  if (call != "finish")
    fail(ErrorCode::kInvalidArgument, "request: call '{}' is none of start, reply, finish", call);
  const Json* end = request.find("end");
  Json reply = found->second->finish(end == nullptr ? "done" : end->as_string("end"));
  sessions_.erase(found);
  return reply;
}

void serve(const Begin& begin) {
  Server server(begin);
  std::string line;
  while (std::getline(std::cin, line))
    if (!line.empty()) std::cout << server.answer(line) << std::endl;
}

Json tool_message(const Json& call_id, const std::string& content) {
  Json message = Json::object();
  message["role"] = "tool";
  message["tool_call_id"] = call_id;
  message["content"] = content;
  return message;
}

Json user_message(const std::string& content) {
  Json message = Json::object();
  message["role"] = "user";
  message["content"] = content;
  return message;
}

Json assistant_message(const std::string& content) {
  Json message = Json::object();
  message["role"] = "assistant";
  message["content"] = content;
  return message;
}

Json call_message(const std::string& id, const std::string& tool, const Json& arguments) {
  Json function = Json::object();
  function["name"] = tool;
  function["arguments"] = arguments;
  Json call = Json::object();
  call["id"] = id;
  call["type"] = "function";
  call["function"] = function;
  Json message = assistant_message("");
  message["tool_calls"].push_back(call);
  return message;
}

Json call_arguments(const Json& call, std::string_view tool) {
  const Json* name = call.find("name");
  if (name == nullptr || !name->is_string() || name->as_string() != tool) return {};
  const Json* arguments = call.find("arguments");
  if (arguments == nullptr) return {};
  if (arguments->is_object()) return *arguments;
  if (!arguments->is_string()) return {};
  try {
    Json parsed = parse_json(arguments->as_string(), "arguments");
    return parsed.is_object() ? parsed : Json();
  } catch (const Error&) {
    return {};
  }
}

ToolSession::ToolSession(std::string question, Json tool, int64_t budget, std::string unit)
    : question_(std::move(question)),
      unit_(std::move(unit)),
      tool_(std::move(tool)),
      budget_(budget) {}

Json ToolSession::start() {
  Json out = Json::object();
  out["messages"].push_back(user_message(question_));
  out["tools"].push_back(tool_);
  return out;
}

Json ToolSession::reply(const Json& answer) {
  Json messages = Json::array();
  const Json* calls = answer.find("tool_calls");
  if (calls != nullptr && calls->is_array())
    for (const Json& call : calls->as_array()) messages.push_back(run_call(call));
  Json out = Json::object();
  out["messages"] = messages;
  if (messages.size() == 0 || used() >= budget_ || is_solved()) out["done"] = true;
  return out;
}

Json ToolSession::run_call(const Json& call) {
  const Json* id = call.find("id");
  const Json call_id = id == nullptr ? Json("") : *id;
  if (used() >= budget_) return tool_message(call_id, fmt::format("no {} is left", unit_));
  return tool_message(call_id, run(call));
}

int64_t read_budget(const Json& fields, const std::string& name) {
  const int64_t budget = fields.at(name).as_int(name);
  if (budget < 1 || budget > 1000)
    fail(ErrorCode::kInvalidArgument, "item: {} is {}: from 1 to 1000", name, budget);
  return budget;
}

std::string median_text(std::vector<int64_t> needed, int64_t budget) {
  std::sort(needed.begin(), needed.end());
  const int64_t median = needed[needed.size() / 2];
  return median > budget ? fmt::format("> {}", budget) : fmt::format("{}", median);
}

int run_program(int argc, char** argv, const std::string& about, const std::vector<Mode>& modes) {
  try {
    run_mode(argc, argv, about, modes);
    return 0;
  } catch (const std::exception& error) {
    std::cerr << Path(argv[0]).filename().string() << ": " << error.what() << "\n";
    return 2;
  }
}

}  // namespace dure::environments
