// tests/hostile_clients.h: clients of every temper, each a function that makes one connection's
// trouble: what it sent and how it left. They expect one thing: that no answer blames the server.
#pragma once

#include <openssl/ssl.h>

#include <memory>

#include "base/rng.h"
#include "server/loopback_client.h"

namespace dure::hostile {

inline std::string random_bytes(Rng& rng, int64_t count) {
  std::string out(static_cast<size_t>(count), '\0');
  for (char& c : out) c = static_cast<char>(rng.below(256));
  return out;
}
inline std::string chat(const std::string& more) {
  return R"({"messages":[{"role":"user","content":"the village"}],"seed":1,)" + more + "}";
}
inline std::string chat_request(const std::string& more) {
  return http_post("/v1/chat/completions", chat(more));
}
inline const std::string& one_of(Rng& rng, const std::vector<std::string>& items) {
  return items[static_cast<size_t>(rng.below(static_cast<int64_t>(items.size())))];
}

// ---- What is sent

inline std::string noise(Rng& rng) { return random_bytes(rng, rng.below(400)); }
inline std::string huge_header(Rng& rng) {
  return http_get("/", "X: " + std::string(static_cast<size_t>(rng.below(200000)), 'a') + "\r\n");
}
inline std::string many_headers(Rng& rng) {
  std::string all;
  for (int64_t n = rng.below(5000); n > 0; --n) all += fmt::format("X-{}: {}\r\n", n, n);
  return http_get("/health", all);
}
inline std::string noise_as_body(Rng& rng) {
  return http_post("/v1/chat/completions", random_bytes(rng, rng.below(4000)));
}
inline std::string deep_json(Rng& rng) {
  const std::string open = one_of(rng, {"[", "{\"a\":", "[[{\"b\":["});
  std::string body = R"({"messages":)";
  for (int64_t n = rng.below(30000); n > 0; --n) body += open;
  return http_post("/v1/chat/completions", body);
}
inline std::string invalid_utf8(Rng& rng) {
  const std::string bad = one_of(rng, {"\xff\xfe", "\xc3", "\xed\xa0\x80", "\xf5\x80\x80\x80",
                                       "\\ud800", "\\u0000", "\xc0\xaf"});
  return http_post("/v1/chat/completions",
                   R"({"max_tokens":3,"messages":[{"role":"user","content":")" + bad + R"("}]})");
}
inline std::string large_content(Rng& rng) {
  const std::string text(static_cast<size_t>(rng.below(300000)), 'x');
  return http_post(one_of(rng, {"/v1/chat/completions", "/v1/messages", "/tokenize"}),
                   R"({"max_tokens":2,"messages":[{"role":"user","content":")" + text + R"("}]})");
}
inline std::string wrong_fields(Rng& rng) {
  const std::string value =
      one_of(rng, {"-1", "1e99", "null", "\"x\"", "[]", "{}", "[[]]", "9223372036854775808", "0.1",
                   "true", "[1,\"a\"]", "{\"type\":5}", "\"\""});
  const std::string field = one_of(rng, {"n",
                                         "stop",
                                         "max_tokens",
                                         "temperature",
                                         "top_p",
                                         "tools",
                                         "tool_choice",
                                         "logit_bias",
                                         "response_format",
                                         "seed",
                                         "stream",
                                         "stream_options",
                                         "messages",
                                         "model",
                                         "logprobs",
                                         "top_logprobs",
                                         "guided_json",
                                         "guided_regex",
                                         "chat_template_kwargs",
                                         "reasoning",
                                         "metadata",
                                         "prompt",
                                         "input",
                                         "system"});
  const std::string path =
      one_of(rng, {"/v1/chat/completions", "/v1/completions", "/v1/responses", "/v1/messages",
                   "/v1/messages/count_tokens", "/tokenize", "/detokenize", "/apply-template"});
  return http_post(path, fmt::format(R"({{"messages":[{{"role":"user","content":"hi"}}],)"
                                     R"("max_tokens":2,"{}":{}}})",
                                     field, value));
}
inline std::string odd_messages(Rng& rng) {
  const std::string role = one_of(rng, {"\"king\"", "null", "5", "\"user\"", "\"tool\""});
  const std::string content =
      one_of(rng, {"null", "5", "[]", "[{}]", R"([{"type":"text"}])", R"([{"type":"image_url"}])",
                   R"([{"type":"text","text":5}])", "{\"text\":1}"});
  return http_post(
      "/v1/chat/completions",
      fmt::format(R"({{"max_tokens":2,"messages":[{{"role":{},"content":{}}}]}})", role, content));
}
inline std::string costly_forms(Rng& rng) {
  const std::string form = one_of(
      rng, {R"("guided_regex":"((a{1,999}){1,999}){1,999}")", R"("guided_regex":"(a|a)*b(.*)*$")",
            R"("guided_json":{"$ref":"#"})", R"("guided_json":{"type":"array","maxItems":1e9})",
            R"("guided_json":{"allOf":[{"$ref":"#/allOf/0"}]})",
            R"("guided_json":{"type":"string","pattern":"(x+x+)+y"})", R"("guided_choice":["",""])",
            R"("grammar":"root ::= root")"});
  return chat_request(R"("max_tokens":3,)" + form);
}
inline std::string no_such_tokens(Rng& rng) {
  return http_post("/v1/completions", fmt::format(R"({{"prompt":[1,2,{}],"max_tokens":3}})",
                                                  rng.between(-5, 1 << 30)));
}
inline std::string scored_prompts(Rng& rng) {
  return http_post("/v1/completions",
                   fmt::format(R"({{"prompt":"the village","max_tokens":{},"echo":true,)"
                               R"("logprobs":{}}})",
                               rng.below(3), one_of(rng, {"0", "5", "99"})));
}
inline std::string wrong_lengths(Rng& rng) {
  const std::string length =
      one_of(rng, {"5", "99999", "-1", "99999999999999999999", "1e3", "0x10", "", "40000000",
                   "6\r\nContent-Length: 7", "6\r\nTransfer-Encoding: chunked"});
  return "POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: " + length +
         "\r\n\r\n" + chat(R"("max_tokens":1)");
}
inline std::string odd_chunks(Rng& rng) {
  const std::string size = one_of(rng, {"0", "ffffffffffffffff", "-1", "zz", "10000000", "5;x=y"});
  return "POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n" +
         size + "\r\n" + random_bytes(rng, 40);
}
inline std::string odd_targets(Rng& rng) {
  const std::string target =
      one_of(rng, {"/../../etc/passwd", "/%00", "/%zz", "*", "//", "http://evil.example/v1/models",
                   "/v1/models/%2e%2e%2f", "/v1/chat/completions?%ff", "/" + std::string(9000, 'a'),
                   "/v1/models\tx", "/v1/embeddings/"});
  const std::string method =
      one_of(rng, {"GET", "POST", "PUT", "DELETE", "OPTIONS", "HEAD", "BREW", "CONNECT", "get"});
  return method + " " + target + " HTTP/1." + (rng.below(2) == 0 ? "1" : "0") +
         "\r\nHost: " + one_of(rng, {"localhost", "evil.example", "", "[::1]:1", "a b"}) +
         "\r\n\r\n";
}
inline std::string pipeline(Rng& rng) {
  std::string all;
  for (int64_t n = rng.between(1, 20); n > 0; --n) all += chat_request(R"("max_tokens":2)");
  return all;
}
inline std::string long_stream(Rng& rng) {
  return chat_request(fmt::format(R"("ignore_eos":true,"stream":true,"max_tokens":{},"n":{})",
                                  rng.between(50, 900), rng.between(1, 3)));
}
inline std::string good(Rng& rng) { return chat_request(R"("max_tokens":4)"); }

struct Sending {
  const char* name;
  std::string (*bytes)(Rng& rng);
};
inline constexpr Sending kSendings[] = {
    {"noise", noise},
    {"huge header", huge_header},
    {"many headers", many_headers},
    {"noise as body", noise_as_body},
    {"deep JSON", deep_json},
    {"invalid UTF-8", invalid_utf8},
    {"large content", large_content},
    {"wrong fields", wrong_fields},
    {"odd messages", odd_messages},
    {"costly forms", costly_forms},
    {"no such tokens", no_such_tokens},
    {"scored prompts", scored_prompts},
    {"wrong lengths", wrong_lengths},
    {"odd chunks", odd_chunks},
    {"odd targets", odd_targets},
    {"pipeline", pipeline},
    {"long stream", long_stream},
    {"good", good},
};

// ---- How it is sent

struct Heard {
  int status = 0;  // of the first answer; 0: none was waited for, or none came
  std::string text;
};

inline Heard heard(LoopbackClient& client, double seconds) {
  client.receive_until("\r\n\r\n", seconds);
  Heard out{.text = client.received().substr(0, 2000)};
  if (out.text.starts_with("HTTP/1.1 ")) out.status = std::atoi(out.text.c_str() + 9);
  return out;
}

// A few bytes at a time, longer than anybody likes; leaves at last.
inline void dribble(LoopbackClient& client, Rng& rng, const std::string& bytes, double seconds) {
  const auto end = std::chrono::steady_clock::now() + std::chrono::duration<double>(seconds);
  for (size_t at = 0; at < bytes.size() && std::chrono::steady_clock::now() < end; ++at) {
    if (!client.send(bytes.substr(at, 1))) return;
    ::usleep(static_cast<useconds_t>(rng.between(1, 60) * 1000));
  }
}

// Reads a little, then nothing for a while, with a small window.
inline Heard read_slowly(LoopbackClient& client, Rng& rng) {
  const int small = 2048;
  ::setsockopt(client.fd(), SOL_SOCKET, SO_RCVBUF, &small, sizeof(small));
  client.send(long_stream(rng));
  const Heard out = heard(client, 2);
  for (int64_t n = rng.below(30); n > 0; --n) {
    char byte = 0;
    if (::recv(client.fd(), &byte, 1, MSG_DONTWAIT) == 0) break;
    ::usleep(30000);
  }
  return out;
}

// One connection of a client chosen by chance.
inline Heard misbehave(int64_t port, Rng& rng) {
  LoopbackClient client(port);
  if (!client.connected()) return {};
  const Sending& sending =
      kSendings[static_cast<size_t>(rng.below(static_cast<int64_t>(std::size(kSendings))))];
  std::string bytes = sending.bytes(rng);
  switch (rng.below(10)) {
    case 0:
      dribble(client, rng, bytes, rng.below(20) == 0 ? 20 : 0.5);
      break;
    case 1:
      return read_slowly(client, rng);
    case 2:  // Cut short, and gone.
      client.send(bytes.substr(0, static_cast<size_t>(rng.below(300))));
      return {};
    case 3:  // Cut short, and waiting.
      client.send(bytes.substr(0, static_cast<size_t>(rng.below(300))));
      client.half_close();
      break;
    case 4:  // Gone before an answer.
      client.send(bytes);
      return {};
    case 5: {  // Reset.
      client.send(bytes);
      const linger now{1, 0};
      ::setsockopt(client.fd(), SOL_SOCKET, SO_LINGER, &now, sizeof(now));
      return {};
    }
    case 6:
      client.send(bytes);
      client.half_close();
      break;
    default:
      client.send(bytes);
  }
  return heard(client, rng.below(3) == 0 ? 0.02 : 1.5);
}

// ---- Under TLS

// A handshake cut short, noise, plain HTTP, or a request whose client leaves without a goodbye.
inline Heard misbehave_under_tls(int64_t port, Rng& rng, SSL_CTX* context) {
  LoopbackClient client(port);
  if (!client.connected()) return {};
  const int64_t kind = rng.below(5);
  if (kind == 0) client.send(good(rng));
  if (kind == 1) client.send("\x16\x03\x01\x02\x00\x01" + random_bytes(rng, rng.below(600)));
  if (kind == 2) return {};  // A connection, and nothing.
  if (kind < 2) {
    client.receive(0.2);
    return {};
  }
  const std::unique_ptr<SSL, void (*)(SSL*)> tls(SSL_new(context), SSL_free);
  SSL_set_fd(tls.get(), client.fd());
  if (SSL_connect(tls.get()) != 1) return {};
  const std::string bytes = kind == 3 ? good(rng) : long_stream(rng);
  SSL_write(tls.get(), bytes.data(), static_cast<int>(bytes.size()));
  char buffer[2000] = {};
  SSL_read(tls.get(), buffer, sizeof(buffer) - 1);
  if (rng.below(2) == 0) SSL_shutdown(tls.get());
  const std::string_view text(buffer);
  return {.status = text.starts_with("HTTP/1.1 ") ? std::atoi(buffer + 9) : 0,
          .text = std::string(text)};
}

}  // namespace dure::hostile
