// Draws an image of 16-bit numbers with WebGL 2: an R16UI texture, interpolated first, then windowed by a lookup table.

const VERTEX = `#version 300 es
void main() {
  gl_Position = vec4(gl_VertexID == 1 ? 3.0 : -1.0, gl_VertexID == 2 ? 3.0 : -1.0, 0.0, 1.0);
}`;

const FRAGMENT = `#version 300 es
precision highp float;
precision highp int;
precision highp usampler2D;
uniform usampler2D image;
uniform sampler2D table;
uniform vec2 origin;      // of the image, in screen pixels from the top left
uniform float bottom;     // height of the canvas
uniform float scale;      // screen pixels per image pixel
uniform vec2 fullSize;    // of the image
uniform int level;
uniform bool smoothly;
uniform uvec2 padding;
out vec4 color;

bool isPadding(uint v) { return v >= padding.x && v <= padding.y; }

void main() {
  vec2 position = (vec2(gl_FragCoord.x, bottom - gl_FragCoord.y) - origin) / scale;
  if (any(lessThan(position, vec2(0.0))) || any(greaterThanEqual(position, fullSize))) {
    color = vec4(0.0, 0.0, 0.0, 1.0);
    return;
  }
  ivec2 size = textureSize(image, level);
  position *= vec2(size) / fullSize;
  ivec2 last = size - 1;
  uint value = texelFetch(image, min(ivec2(position), last), level).r;
  if (smoothly) {
    vec2 corner = position - 0.5;
    ivec2 a = clamp(ivec2(floor(corner)), ivec2(0), last);
    ivec2 b = clamp(ivec2(floor(corner)) + 1, ivec2(0), last);
    vec2 part = corner - floor(corner);
    uint v00 = texelFetch(image, a, level).r;
    uint v10 = texelFetch(image, ivec2(b.x, a.y), level).r;
    uint v01 = texelFetch(image, ivec2(a.x, b.y), level).r;
    uint v11 = texelFetch(image, b, level).r;
    if (!(isPadding(v00) || isPadding(v10) || isPadding(v01) || isPadding(v11))) {
      float top = mix(float(v00), float(v10), part.x);
      float under = mix(float(v01), float(v11), part.x);
      value = uint(mix(top, under, part.y) + 0.5);
    }
  }
  float shade = texelFetch(table, ivec2(value & 255u, value >> 8), 0).r;
  color = vec4(vec3(shade), 1.0);
}`;

const SOFTWARE = /swiftshader|llvmpipe|softpipe|software|basic render/i;

// Whether WebGL 2 runs on a graphics card. A software implementation is slower than the 2D canvas.
export function inHardware() {
  const gl = document.createElement("canvas").getContext("webgl2", {failIfMajorPerformanceCaveat: true});
  if (!gl) return false;
  const unmasked = gl.getExtension("WEBGL_debug_renderer_info")?.UNMASKED_RENDERER_WEBGL;
  const name = String(gl.getParameter(unmasked ?? gl.RENDERER));
  gl.getExtension("WEBGL_lose_context")?.loseContext();
  return !SOFTWARE.test(name);
}

export class WebGL {
  constructor(canvas) {
    this.gl = canvas.getContext("webgl2", {alpha: false, antialias: false, depth: false});
    if (!this.gl) throw new Error("no WebGL 2");
    this.canvas = canvas;
    this.program = this.compile();
    this.table = this.texture(1);
    this.gl.texStorage2D(this.gl.TEXTURE_2D, 1, this.gl.R8, 256, 256);
  }

  compile() {
    const gl = this.gl;
    const program = gl.createProgram();
    for (const [kind, source] of [[gl.VERTEX_SHADER, VERTEX], [gl.FRAGMENT_SHADER, FRAGMENT]]) {
      const shader = gl.createShader(kind);
      gl.shaderSource(shader, source);
      gl.compileShader(shader);
      gl.attachShader(program, shader);
    }
    gl.linkProgram(program);
    if (!gl.getProgramParameter(program, gl.LINK_STATUS)) throw new Error(gl.getProgramInfoLog(program));
    gl.useProgram(program);
    gl.pixelStorei(gl.UNPACK_ALIGNMENT, 1);
    return program;
  }

  texture(unit) {
    const gl = this.gl;
    const texture = gl.createTexture();
    gl.activeTexture(gl.TEXTURE0 + unit);
    gl.bindTexture(gl.TEXTURE_2D, texture);
    gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_MIN_FILTER, gl.NEAREST);
    gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_MAG_FILTER, gl.NEAREST);
    return texture;
  }

  load(levels, padding) {
    const gl = this.gl;
    const {width, height} = levels[0];
    if (Math.max(width, height) > gl.getParameter(gl.MAX_TEXTURE_SIZE)) throw new Error("image too large for WebGL");
    if (this.image) gl.deleteTexture(this.image);
    this.image = this.texture(0);
    gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_MIN_FILTER, gl.NEAREST_MIPMAP_NEAREST);
    gl.texStorage2D(gl.TEXTURE_2D, levels.length, gl.R16UI, width, height);
    levels.forEach((level, number) =>
      gl.texSubImage2D(gl.TEXTURE_2D, number, 0, 0, level.width, level.height, gl.RED_INTEGER, gl.UNSIGNED_SHORT, level.data));
    this.set("2f", "fullSize", width, height);
    this.set("2ui", "padding", ...(padding ?? [1, 0]));
    this.set("1i", "image", 0);
    this.set("1i", "table", 1);
  }

  set(kind, name, ...values) {
    this.gl[`uniform${kind}`](this.gl.getUniformLocation(this.program, name), ...values);
  }

  draw(table, {scale, x, y, level, smoothly}) {
    const gl = this.gl;
    gl.viewport(0, 0, this.canvas.width, this.canvas.height);
    if (table !== this.shown) {
      gl.activeTexture(gl.TEXTURE1);
      gl.texSubImage2D(gl.TEXTURE_2D, 0, 0, 0, 256, 256, gl.RED, gl.UNSIGNED_BYTE, table);
      this.shown = table;
    }
    this.set("2f", "origin", x, y);
    this.set("1f", "bottom", this.canvas.height);
    this.set("1f", "scale", scale);
    this.set("1i", "level", level);
    this.set("1i", "smoothly", smoothly ? 1 : 0);
    gl.drawArrays(gl.TRIANGLES, 0, 3);
  }

  // Returns RGBA rows from the top, after all drawing is finished.
  read(width, height) {
    const pixels = new Uint8Array(width * height * 4);
    this.gl.readPixels(0, this.canvas.height - height, width, height, this.gl.RGBA, this.gl.UNSIGNED_BYTE, pixels);
    const rows = [];
    for (let y = height - 1; y >= 0; y--) rows.push(pixels.subarray(y * width * 4, (y + 1) * width * 4));
    return rows;
  }
}
