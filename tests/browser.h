// tests/browser.h: a headless Chromium, driven as a person would: keys, clicks, text; and asked in
// JavaScript what it shows.
//
// Owns the process and its DevTools protocol over a pair of pipes (--remote-debugging-pipe:
// messages end in a zero byte). Not here: what a page should do (page_e2e_test.cc).
#pragma once

#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/file.h"
#include "base/json.h"

namespace dure {

inline bool has_chromium() { return std::system("command -v chromium > /dev/null 2>&1") == 0; }

inline std::string from_base64(const std::string& text) {
  const std::string digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string out;
  unsigned bits = 0;
  int count = 0;
  for (const char c : text) {
    const size_t digit = digits.find(c);
    if (digit == std::string::npos) break;
    bits = bits << 6 | static_cast<unsigned>(digit);
    count += 6;
    if (count < 8) continue;
    count -= 8;
    out += static_cast<char>(bits >> count & 255);
  }
  return out;
}

class Browser {
 public:
  Browser() {
    int to[2] = {}, from[2] = {};
    if (::pipe2(to, O_CLOEXEC) != 0 || ::pipe2(from, O_CLOEXEC) != 0) fail_errno("cannot pipe");
    pid_ = ::fork();
    if (pid_ == 0) run(to[0], from[1]);
    ::close(to[0]);
    ::close(from[1]);
    write_ = to[1];
    read_ = from[0];
    attach();
  }
  ~Browser() {
    ::kill(-pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
    ::close(write_);
    ::close(read_);
  }
  Browser(const Browser&) = delete;
  Browser& operator=(const Browser&) = delete;

  // One command of the protocol; its result. Fails the test and returns null where it fails.
  Json command(const std::string& method, Json params = Json::object()) {
    Json message = Json::object();
    message["id"] = ++last_;
    message["method"] = method;
    message["params"] = std::move(params);
    if (!session_.empty()) message["sessionId"] = session_;
    const std::string text = message.dump() + '\0';
    if (::write(write_, text.data(), text.size()) != std::ssize(text)) return {};
    while (true) {
      const Json answer = receive();
      if (answer.is_null()) return {};
      if (const Json* id = answer.find("id"); id == nullptr || id->as_int() != last_) continue;
      if (const Json* error = answer.find("error")) {
        ADD_FAILURE() << method << ": " << error->dump();
        return {};
      }
      return answer.at("result");
    }
  }

  // The value of an expression, awaited where it is a promise.
  Json evaluate(const std::string& expression) {
    Json params = Json::object();
    params["expression"] = expression;
    params["awaitPromise"] = true;
    params["returnByValue"] = true;
    params["userGesture"] = true;
    const Json result = command("Runtime.evaluate", std::move(params));
    if (result.is_null()) return {};
    if (const Json* thrown = result.find("exceptionDetails")) {
      ADD_FAILURE() << expression << ": " << thrown->dump();
      return {};
    }
    const Json* value = result.at("result").find("value");
    return value != nullptr ? *value : Json();
  }
  bool holds(const std::string& expression) {
    return evaluate("!!(" + expression + ")") == Json(true);
  }
  bool soon(const std::string& expression, double seconds = 20) {
    const auto end = Clock::now() + std::chrono::duration<double>(seconds);
    while (Clock::now() < end) {
      if (holds(expression)) return true;
      ::usleep(20000);
    }
    return false;
  }
  std::string text(const std::string& selector) {
    const Json value =
        evaluate("document.querySelector(" + json_quote(selector) + ")?.innerText ?? ''");
    return value.is_string() ? value.as_string() : "";
  }

  void open(const std::string& address) {
    Json params = Json::object();
    params["url"] = address;
    command("Page.navigate", std::move(params));
    EXPECT_TRUE(soon("document.readyState === 'complete'")) << address;
  }
  void resize(int width, int height, bool phone) {
    Json params = Json::object();
    params["width"] = width;
    params["height"] = height;
    params["deviceScaleFactor"] = phone ? 2 : 1;
    params["mobile"] = phone;
    command("Emulation.setDeviceMetricsOverride", std::move(params));
  }

  // The mouse, in the middle of what the selector finds.
  void click(const std::string& selector) {
    const Json place =
        evaluate("(() => { const e = document.querySelector(" + json_quote(selector) +
                 "); if (!e) return null; e.scrollIntoView({block: 'nearest'}); const r = "
                 "e.getBoundingClientRect(); return [r.x + r.width / 2, r.y + r.height / 2]; })()");
    if (!place.is_array()) {
      ADD_FAILURE() << "nothing to click at: " << selector;
      return;
    }
    for (const char* type : {"mouseMoved", "mousePressed", "mouseReleased"}) {
      Json params = Json::object();
      params["type"] = type;
      params["x"] = place.at(size_t{0});
      params["y"] = place.at(size_t{1});
      params["button"] = std::string(type) == "mouseMoved" ? "none" : "left";
      params["clickCount"] = 1;
      command("Input.dispatchMouseEvent", std::move(params));
    }
  }
  // Into what has the focus.
  void type(const std::string& text) {
    Json params = Json::object();
    params["text"] = text;
    command("Input.insertText", std::move(params));
  }
  // "Enter", "Escape", "Tab", "ArrowUp", ...
  void press(const std::string& key, int code = 0, const std::string& text = "") {
    for (const char* type : {"keyDown", "keyUp"}) {
      Json params = Json::object();
      params["type"] = type;
      params["key"] = key;
      params["code"] = key;
      params["windowsVirtualKeyCode"] = code;
      if (!text.empty() && type == std::string("keyDown")) params["text"] = text;
      command("Input.dispatchKeyEvent", std::move(params));
    }
  }
  void enter() { press("Enter", 13, "\r"); }

  // A picture in $DURE_PAGE_PICTURES, where that names a folder.
  void picture(const std::string& name) {
    const char* folder = std::getenv("DURE_PAGE_PICTURES");
    if (folder == nullptr) return;
    const Json result = command("Page.captureScreenshot");
    write_file(Path(folder) / (name + ".png"), from_base64(result.at("data").as_string()));
  }

  // What the page complained of: exceptions, refusals of its policy, failed loads.
  std::vector<std::string> complaints;

 private:
  using Clock = std::chrono::steady_clock;

  [[noreturn]] void run(int in, int out) {
    ::setpgid(0, 0);
    // Apart first: one of the two may be 3 or 4 itself.
    const int high_in = ::fcntl(in, F_DUPFD, 10), high_out = ::fcntl(out, F_DUPFD, 10);
    ::dup2(high_in, 3);
    ::dup2(high_out, 4);
    ::dup2(::open("/dev/null", O_WRONLY), 2);
    const std::string profile = "--user-data-dir=" + profile_.path().string();
    ::execlp("chromium", "chromium", "--headless=new", "--no-sandbox", "--disable-gpu",
             "--hide-scrollbars", "--no-first-run", "--disable-extensions",
             "--disable-background-networking", "--disable-component-update", "--lang=en-US",
             "--remote-debugging-pipe", profile.c_str(), "about:blank",
             static_cast<char*>(nullptr));
    ::_exit(99);
  }

  void attach() {
    for (int i = 0; i < 200 && session_.empty(); ++i) {
      const Json targets = command("Target.getTargets");
      if (targets.is_null()) return;
      for (const Json& target : targets.at("targetInfos").as_array()) {
        if (target.at("type") != Json("page")) continue;
        Json params = Json::object();
        params["targetId"] = target.at("targetId");
        params["flatten"] = true;
        session_ = command("Target.attachToTarget", std::move(params)).at("sessionId").as_string();
        break;
      }
      if (session_.empty()) ::usleep(50000);
    }
    for (const char* domain : {"Page.enable", "Runtime.enable", "Log.enable"}) command(domain);
  }

  // The next message; null after 30 silent seconds, or where the browser is gone.
  Json receive() {
    size_t end = 0;
    while ((end = buffer_.find('\0')) == std::string::npos) {
      pollfd wait{read_, POLLIN, 0};
      char bytes[1 << 16];
      const ssize_t count = ::poll(&wait, 1, 30000) > 0 ? ::read(read_, bytes, sizeof(bytes)) : 0;
      if (count <= 0) {
        ADD_FAILURE() << "the browser does not answer";
        return {};
      }
      buffer_.append(bytes, static_cast<size_t>(count));
    }
    const Json message = parse_json(buffer_.substr(0, end), "browser");
    buffer_.erase(0, end + 1);
    note(message);
    return message;
  }
  void note(const Json& message) {
    const Json* method = message.find("method");
    if (method == nullptr) return;
    const Json& params = message.at("params");
    if (*method == Json("Runtime.exceptionThrown")) complaints.push_back(params.dump());
    if (*method == Json("Log.entryAdded") && params.at("entry").at("level") == Json("error"))
      complaints.push_back(params.at("entry").dump());
  }

  TemporaryFolder profile_;
  pid_t pid_ = 0;
  int write_ = -1, read_ = -1;
  int64_t last_ = 0;
  std::string session_, buffer_;
};

}  // namespace dure
