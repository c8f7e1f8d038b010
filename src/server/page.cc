// One small page: that the server runs, and how to talk to it.
#include "server/page.h"

namespace dure {
namespace {

std::string escaped(const std::string& text) {
  std::string out;
  for (const char c : text) {
    if (c == '<') {
      out += "&lt;";
    } else if (c == '&') {
      out += "&amp;";
    } else {
      out += c;
    }
  }
  return out;
}

}  // namespace

std::string front_page(const std::string& model) {
  const std::string state = model.empty() ? "The model is being read; reload soon."
                                          : "Serving <b>" + escaped(model) + "</b>.";
  return "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>Dure</title>"
         "<meta name=\"viewport\" content=\"width=device-width\">"
         "<style>body{font:16px/1.5 sans-serif;max-width:40em;margin:3em auto;padding:0 1em}"
         "pre{overflow:auto}</style><h1>Dure</h1><p>" +
         state + "<p>OpenAI's API is below <code>/v1</code>:<pre>curl -s " +
         "http://HOST:PORT/v1/chat/completions -H 'Content-Type: application/json' \\\n"
         "  -d '{\"messages\": [{\"role\": \"user\", \"content\": \"Hello\"}]}'</pre>"
         "<p><a href=\"/v1/models\">models</a>, <a href=\"/metrics\">metrics</a>, "
         "<a href=\"/health\">health</a>";
}

}  // namespace dure
