// client/openai_api.h: what every client of OpenAI's API needs: its root, its key, its models, and
// what its refusals say.
//
// Not here: the fields of a question and its answer (cli/remote_partner.cc,
// eval/remote_answerer.h), the connection (http_client.h).
#pragma once

#include <string>

#include "base/json.h"
#include "client/http_client.h"

namespace dure {

// Of http://host:8000, http://host:8000/v1 or the address of an endpoint itself: the API's root.
WebAddress api_root(const std::string& text);

// DURE_API_KEY; OpenAI's own variable only under TLS, since it is a secret of another place.
std::string api_key_for(const WebAddress& address);

// A request with the headers of this program, and the key where there is one.
WebRequest api_request(const char* method, const char* path, std::string body,
                       const std::string& key);

// A server's answer: what is no UTF-8, and halves of pairs ("\\ud800" alone), become U+FFFD. Throws
// kCorrupt where it is no JSON.
Json parse_server_answer(const std::string& body);

// {"error": {"message"}}, {"error": "text"}, {"message"}; else the body's beginning.
std::string api_error_text(const std::string& body);

// Throws kInvalidArgument with what the server says, unless the status is 2xx. `keyed`: a key was
// sent along.
void require_good(const WebAnswer& answer, const WebAddress& address, bool keyed);

// The first that the server names. Throws kInvalidArgument where it names none.
std::string first_model(const HttpClient& client, const std::string& key);

// Members of what may be no object: nullptr, empty, 0.
const Json* json_member(const Json* object, const char* name);
std::string json_text(const Json* object, const char* name);
int64_t json_count(const Json* object, const char* name);

}  // namespace dure
