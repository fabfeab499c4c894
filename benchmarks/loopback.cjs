// Preloaded into Node.js programs that would listen on every interface: only 127.0.0.1.
"use strict";
const net = require("node:net");
const listen = net.Server.prototype.listen;

net.Server.prototype.listen = function (first, ...rest) {
  if (typeof first === "number") {
    const others = rest.filter((argument) => typeof argument === "function");
    return listen.call(this, first, "127.0.0.1", ...others);
  }
  if (first !== null && typeof first === "object" && "port" in first) {
    return listen.call(this, { ...first, host: "127.0.0.1" }, ...rest);
  }
  return listen.call(this, first, ...rest);
};
