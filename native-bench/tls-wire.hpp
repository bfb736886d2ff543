// TLS 1.3 by OpenSSL. It is built where the compiler finds OpenSSL (HAS_TLS).
//
// One recv and one send for each turn: the library reads from the bytes that have come and writes to those that wait. Certificates are not checked: the
// broker is on this machine, and its cost is the same.
#pragma once

#include <openssl/err.h>
#include <openssl/ssl.h>

#include <algorithm>
#include <vector>

#include "options.hpp"
#include "wire.hpp"

// What all connections of a process share.
class TlsContext {
 public:
  // One suite and one group, the same for all transports that encrypt, so that no broker chooses another one.
  static constexpr const char* suite = "TLS_AES_128_GCM_SHA256";
  static constexpr const char* group = "X25519";

  // With `resumes` each place among the connections keeps its last session, and its next connection resumes it.
  TlsContext(size_t places, bool resumes);
  TlsContext(const TlsContext&) = delete;
  TlsContext& operator=(const TlsContext&) = delete;
  ~TlsContext() {
    for (SSL_SESSION* session : sessions_) SSL_SESSION_free(session);
    SSL_CTX_free(context_);
    BIO_meth_free(method_);
  }

 private:
  friend class TlsWire;
  // Less than a caller's room by more than a record, so that everything that comes out has its place.
  static constexpr size_t rawBytes = 128 * 1024;

  SSL_CTX* context_;
  BIO_METHOD* method_;
  std::vector<SSL_SESSION*> sessions_;
  bool resumes_;
  std::vector<uint8_t> raw_;
};

class TlsWire final : public StreamWire {
 public:
  // `speaksMqtt`: offers the ALPN `mqtt`; a WebSocket over TLS does not.
  TlsWire(TlsContext& shared, uint32_t place, bool speaksMqtt) : shared_(shared), place_(place), ssl_(SSL_new(shared.context_)) {
    if (ssl_ == nullptr) failRun("OpenSSL has no memory");
    BIO* bio = BIO_new(shared.method_);
    BIO_set_data(bio, this);
    BIO_set_init(bio, 1);
    SSL_set_bio(ssl_, bio, bio);
    SSL_set_app_data(ssl_, this);
    if (!speaksMqtt) SSL_set_alpn_protos(ssl_, nullptr, 0);
    if (shared.resumes_ && shared.sessions_[place] != nullptr) {
      // A copy: OpenSSL uses a session once, and Node's servers give no new ticket to a client that has resumed one.
      SSL_SESSION* copy = SSL_SESSION_dup(shared.sessions_[place]);
      SSL_set_session(ssl_, copy);
      SSL_SESSION_free(copy);
    }
    SSL_set_connect_state(ssl_);
  }
  ~TlsWire() override { SSL_free(ssl_); }

  void begin(int) override { shake(); }
  bool isOpen() const override { return isOpen_; }
  bool isResumed() const override { return SSL_session_reused(ssl_) == 1; }

  void take(const uint8_t* bytes, size_t count) override {
    if (SSL_write(ssl_, bytes, static_cast<int>(count)) != static_cast<int>(count)) failRun("OpenSSL does not take what is written");
  }

  ssize_t receive(int fd, uint8_t* to, size_t room) override {
    const ssize_t got = recv(fd, shared_.raw_.data(), TlsContext::rawBytes, 0);
    if (got <= 0) return got;
    in_ = shared_.raw_.data();
    inEnd_ = in_ + got;
    if (!isOpen_ && !shake()) return fails("TLS handshake: " + lastError());
    if (!isOpen_) return nothingYet();
    size_t filled = 0;
    for (;;) {
      const int read = SSL_read(ssl_, to + filled, static_cast<int>(room - filled));
      if (read > 0) {
        filled += static_cast<size_t>(read);
        continue;
      }
      const int why = SSL_get_error(ssl_, read);
      if (why == SSL_ERROR_WANT_READ) break;
      if (why == SSL_ERROR_ZERO_RETURN) return static_cast<ssize_t>(filled);
      return fails("TLS: " + lastError());
    }
    return filled > 0 ? static_cast<ssize_t>(filled) : nothingYet();
  }

  // A session whose connection does not say goodbye is not resumed.
  void end() override {
    if (isOpen_) SSL_shutdown(ssl_);
  }

 private:
  friend class TlsContext;

  // False when the handshake has failed.
  bool shake() {
    const int done = SSL_do_handshake(ssl_);
    isOpen_ = done == 1;
    return isOpen_ || SSL_get_error(ssl_, done) == SSL_ERROR_WANT_READ;
  }

  static std::string lastError() {
    char text[256];
    ERR_error_string_n(ERR_get_error(), text, sizeof text);
    ERR_clear_error();
    return text;
  }

  static int readIn(BIO* bio, char* to, int count) {
    TlsWire& wire = *static_cast<TlsWire*>(BIO_get_data(bio));
    BIO_clear_retry_flags(bio);
    if (wire.in_ == wire.inEnd_) {
      BIO_set_retry_read(bio);
      return -1;
    }
    const size_t taken = std::min<size_t>(static_cast<size_t>(count), static_cast<size_t>(wire.inEnd_ - wire.in_));
    memcpy(to, wire.in_, taken);
    wire.in_ += taken;
    return static_cast<int>(taken);
  }

  static int writeOut(BIO* bio, const char* from, int count) {
    memcpy(static_cast<TlsWire*>(BIO_get_data(bio))->waiting_.grow(static_cast<size_t>(count)), from, static_cast<size_t>(count));
    return count;
  }

  static long control(BIO*, int command, long, void*) { return command == BIO_CTRL_FLUSH ? 1 : 0; }

  static int keepSession(SSL* ssl, SSL_SESSION* session) {
    TlsWire& wire = *static_cast<TlsWire*>(SSL_get_app_data(ssl));
    if (!wire.shared_.resumes_) return 0;
    SSL_SESSION*& kept = wire.shared_.sessions_[wire.place_];
    SSL_SESSION_free(kept);
    kept = session;
    return 1;
  }

  TlsContext& shared_;
  const uint32_t place_;
  SSL* ssl_;
  const uint8_t* in_ = nullptr;
  const uint8_t* inEnd_ = nullptr;
  bool isOpen_ = false;
};

inline TlsContext::TlsContext(size_t places, bool resumes)
    : context_(SSL_CTX_new(TLS_client_method())),
      method_(BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "turn")),
      sessions_(places, nullptr),
      resumes_(resumes),
      raw_(rawBytes) {
  if (context_ == nullptr || method_ == nullptr) failRun("OpenSSL has no memory");
  BIO_meth_set_read(method_, TlsWire::readIn);
  BIO_meth_set_write(method_, TlsWire::writeOut);
  BIO_meth_set_ctrl(method_, TlsWire::control);
  SSL_CTX_set_verify(context_, SSL_VERIFY_NONE, nullptr);
  SSL_CTX_set_min_proto_version(context_, TLS1_3_VERSION);
  if (SSL_CTX_set_ciphersuites(context_, suite) != 1 || SSL_CTX_set1_groups_list(context_, group) != 1) failRun("OpenSSL does not know its suite or group");
  constexpr uint8_t protocols[] = {4, 'm', 'q', 't', 't'};
  SSL_CTX_set_alpn_protos(context_, protocols, sizeof protocols);
  SSL_CTX_set_session_cache_mode(context_, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
  SSL_CTX_sess_set_new_cb(context_, TlsWire::keepSession);
}
