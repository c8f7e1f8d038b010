// Requests are written, replies are read with everything checked.
#include "grade/environment_protocol.h"

#include "base/error.h"

namespace dure {
namespace {

Json head(const std::string& id, const char* call, const std::string& episode) {
  Json out = Json::object();
  out["id"] = id;
  out["call"] = call;
  out["episode"] = episode;
  return out;
}

// True and false alone; anything else is told.
bool said_over(const Json& reply) {
  const Json* done = reply.find("done");
  return done != nullptr && !done->is_null() && done->as_bool("\"done\"");
}

void read_start(const Json& reply, const Item& item, EnvironmentReply& out) {
  const Json* messages = reply.find("messages");
  const bool own = messages != nullptr && !messages->is_null();
  out.messages = own ? messages_from_json(*messages, "\"messages\"") : item.messages;
  const Json* tools = reply.find("tools");
  out.tools = tools != nullptr ? *tools : item.tools;
  out.over = said_over(reply);
  if (!out.tools.is_null()) out.tools.as_array("\"tools\"");
  if (out.over) return;
  if (out.messages.empty()) fail(ErrorCode::kInvalidArgument, "\"messages\" is empty");
  const Role last = out.messages.back().role;
  if (last == Role::kAssistant)
    fail(ErrorCode::kInvalidArgument,
         "the last of \"messages\" is the assistant's: nothing is asked");
}

void read_turn(const Json& reply, EnvironmentReply& out) {
  out.over = said_over(reply);
  const Json* messages = reply.find("messages");
  if (messages != nullptr && !messages->is_null())
    out.messages = messages_from_json(*messages, "\"messages\"");
  if (out.over) return;
  if (out.messages.empty())
    fail(ErrorCode::kInvalidArgument, "neither \"messages\" nor \"done\": true");
  for (const Message& message : out.messages) {
    if (message.role == Role::kAssistant)
      fail(ErrorCode::kInvalidArgument, "\"messages\" of the assistant: those are the model's");
  }
}

// What stands in a reply, by `read`; what is wrong with it is a failure.
template <typename Read>
EnvironmentReply read_reply(std::string_view line, int64_t asked, const Read& read) {
  const ReplyHead of = read_reply_head(line, asked);
  if (of.stale) return {.stale = true};
  if (of.failure != VerifierFailure::kNone) return {.failure = of.failure, .what = of.what};
  EnvironmentReply out;
  try {
    read(of.reply, out);
  } catch (const Error& error) {
    return {.failure = VerifierFailure::kReply, .what = error.what()};
  }
  return out;
}

}  // namespace

std::string start_request(const std::string& id, const std::string& episode, const Item& item,
                          const EpisodeSeed& seed) {
  Json about = Json::object();
  about["id"] = item.id;
  about["group"] = item.group;
  about["messages"] = messages_to_json(item.messages);
  about["tools"] = item.tools;
  about["reference"] = item.reference;
  about["fields"] = item.fields;
  Json out = head(id, "start", episode);
  out["seed"] = static_cast<int64_t>(seed.seed);
  out["sample"] = seed.sample;
  out["item"] = std::move(about);
  return out.dump();
}

std::string reply_request(const std::string& id, const std::string& episode, int64_t turn,
                          const Answer& answer) {
  Json out = head(id, "reply", episode);
  out["turn"] = turn;
  out["answer"] = answer_json(answer);
  return out.dump();
}

std::string finish_request(const std::string& id, const std::string& episode, EpisodeEnd end) {
  Json out = head(id, "finish", episode);
  out["end"] = name_of(end);
  return out.dump();
}

EnvironmentReply read_start_reply(std::string_view line, int64_t asked, const Item& item) {
  return read_reply(
      line, asked, [&](const Json& reply, EnvironmentReply& out) { read_start(reply, item, out); });
}

EnvironmentReply read_turn_reply(std::string_view line, int64_t asked) {
  return read_reply(line, asked,
                    [](const Json& reply, EnvironmentReply& out) { read_turn(reply, out); });
}

}  // namespace dure
