//! Random programs in the common part of OpenCL C and C, free of undefined and unspecified behaviour.
//!
//! A program reads some words of input, computes with scalars, vectors, structures and arrays in registers, private, local
//! and global memory, with loops, switches, calls and atomics, and writes everything that it knows to its output.

use std::fmt::Write;

use super::expression::{Array, Function, Scalar, Scope, call, condition, expression, index, pick};
use super::types::{ALL, Type, VECTORS};

/// The source of `count` programs, `p0` onwards, the same for the same seed.
pub fn source(seed: u64, count: usize) -> String {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut text = include_str!("prelude.h").to_owned();
    for number in 0..count {
        Generator { random: random.fork(), text: &mut text, number, names: 0, indent: 0 }.program();
    }
    text
}

struct Generator<'a> {
    random: fastrand::Rng,
    text: &'a mut String,
    number: usize,
    names: usize,
    indent: usize,
}

/// Where a statement stands.
#[derive(Clone, Copy)]
struct Place {
    /// Blocks around it.
    depth: u32,
    /// Loops around it.
    loops: u32,
    /// What the function returns, if it may return here.
    result: Option<Type>,
}

impl Generator<'_> {
    fn line(&mut self, text: &str) {
        // Writing to a string cannot fail.
        let _ = writeln!(self.text, "{:1$}{text}", "", 2 * self.indent);
    }

    fn name(&mut self, kind: &str) -> String {
        self.names += 1;
        format!("{kind}{}", self.names)
    }

    fn ty(&mut self) -> Type {
        pick(&mut self.random, &ALL)
    }

    fn expression(&mut self, scope: &Scope, ty: Type) -> String {
        let depth = self.random.u32(1..=3);
        expression(&mut self.random, scope, ty, depth)
    }

    fn condition(&mut self, scope: &Scope) -> String {
        condition(&mut self.random, scope, 2)
    }

    fn program(&mut self) {
        let number = self.number;
        let mut global = Scope::default();
        let (ty, len) = (self.ty(), 8);
        let values: Vec<String> = (0..len).map(|_| ty.constant(&mut self.random)).collect();
        self.line(&format!("TABLE {} table{number}[{len}] = {{{}}};", ty.name(), values.join(", ")));
        let table = Array { name: format!("table{number}"), ty, len, writable: false, atomic: false };
        global.arrays.push(table);
        let members: Vec<(String, Type)> =
            (0..self.random.usize(2..6)).map(|n| (format!("m{n}"), self.ty())).collect();
        let fields: Vec<String> = members.iter().map(|(name, ty)| format!("{} {name};", ty.name())).collect();
        self.line(&format!("struct s{number} {{ {} }};", fields.join(" ")));
        let array = (self.ty(), 1usize << self.random.u32(1..5));
        for _ in 0..self.random.usize(0..4) {
            let function = self.function(&global, &members, array);
            global.functions.push(function);
        }
        self.main(global, &members, array);
        self.entry();
    }

    /// A function that others may call.
    fn function(&mut self, global: &Scope, members: &[(String, Type)], array: (Type, usize)) -> Function {
        let mut scope = global.clone();
        let name = format!("f{}_{}", self.number, global.functions.len());
        let parameters: Vec<Type> = (0..self.random.usize(1..5)).map(|_| self.ty()).collect();
        let (result, by_pointer) = (self.ty(), self.random.bool());
        let mut list = Vec::new();
        for ty in &parameters {
            let parameter = self.name("a");
            list.push(format!("{} {parameter}", ty.name()));
            scope.scalars.push(Scalar { name: parameter, ty: *ty, writable: true });
        }
        // What it calls gets the pointers passed on; a function without pointers calls its like.
        scope.functions.retain(|f| !f.by_pointer || by_pointer);
        if by_pointer {
            list.push(format!("struct s{} *s, {} *b", self.number, array.0.name()));
            for (member, ty) in members {
                scope.scalars.push(Scalar { name: format!("s->{member}"), ty: *ty, writable: true });
            }
            scope.arrays.push(Array {
                name: "b".into(),
                ty: array.0,
                len: array.1,
                writable: true,
                atomic: false,
            });
            scope.pointers = Some("s, b".into());
        }
        let inline = if self.random.bool() { "NOINLINE " } else { "" };
        self.line(&format!("{inline}static {} {name}({}) {{", result.name(), list.join(", ")));
        self.indent += 1;
        let place = Place { depth: 0, loops: 0, result: Some(result) };
        for _ in 0..self.random.usize(1..5) {
            self.statement(&mut scope, place);
        }
        let value = self.expression(&scope, result);
        self.line(&format!("return {value};"));
        self.indent -= 1;
        self.line("}");
        Function { name, result, parameters, by_pointer }
    }

    fn main(&mut self, global: Scope, members: &[(String, Type)], array: (Type, usize)) {
        let (number, mut scope) = (self.number, global);
        self.line(&format!("static void p{number}(MEM const u64 *in, MEM u64 *out, LDS u64 *lds) {{"));
        self.indent += 1;
        for at in 0..self.random.usize(4..10) {
            let (ty, name) = (self.ty(), self.name("v"));
            let value = match ty {
                Type::F32 | Type::F64 => {
                    let kind = if self.random.u8(..4) == 0 { "any" } else { "some" };
                    format!("{kind}_{}(in[{at}])", ty.name())
                }
                _ => format!("({})in[{at}]", ty.name()),
            };
            self.line(&format!("{} {name} = {value};", ty.name()));
            scope.scalars.push(Scalar { name, ty, writable: true });
        }
        self.line(&format!("struct s{number} s;"));
        for (member, ty) in members {
            let value = self.expression(&scope, *ty);
            self.line(&format!("s.{member} = {value};"));
            scope.scalars.push(Scalar { name: format!("s.{member}"), ty: *ty, writable: true });
        }
        self.line(&format!("{} b[{}];", array.0.name(), array.1));
        let value = self.expression(&scope, array.0);
        self.line(&format!(
            "for (int i = 0; i < {}; i++) b[i] = ({})(i + {value});",
            array.1,
            array.0.name()
        ));
        scope.arrays.push(Array {
            name: "b".into(),
            ty: array.0,
            len: array.1,
            writable: true,
            atomic: false,
        });
        scope.pointers = Some("&s, b".into());
        for (name, space, from, words) in
            [("g", "MEM", "(out + RESULTS + SHARED)", 16), ("l", "LDS", "lds", 8)]
        {
            let ty = self.ty();
            self.line(&format!("{space} {0} *{name} = ({space} {0} *){from};", ty.name()));
            let len = (words * 64 / ty.bits()).min(16) as usize;
            let atomic = matches!(ty, Type::I32 | Type::U32 | Type::I64 | Type::U64);
            scope.arrays.push(Array { name: name.into(), ty, len, writable: true, atomic });
        }
        for _ in 0..self.random.usize(0..3) {
            let (vector, name) = (pick(&mut self.random, &VECTORS), self.name("w"));
            let elements: Vec<String> = (0..vector.1).map(|_| self.expression(&scope, vector.0)).collect();
            self.line(&format!("{} {name} = {{{}}};", vector.name(), elements.join(", ")));
            scope.vectors.push((name, vector));
        }
        let place = Place { depth: 0, loops: 0, result: None };
        for _ in 0..self.random.usize(6..16) {
            self.statement(&mut scope, place);
        }
        self.results(&scope, array);
        self.indent -= 1;
        self.line("}");
    }

    /// Everything in scope goes to the output.
    fn results(&mut self, scope: &Scope, array: (Type, usize)) {
        let bits = |name: &str, ty: Type| match ty {
            Type::F32 | Type::F64 => format!("bits_{}({name})", ty.name()),
            _ => format!("(u64){name}"),
        };
        let mut values: Vec<String> = scope.scalars.iter().map(|s| bits(&s.name, s.ty)).collect();
        for (name, vector) in &scope.vectors {
            values.extend((0..vector.1).map(|at| bits(&format!("{name}[{at}]"), vector.0)));
        }
        values.extend((0..array.1).map(|at| bits(&format!("b[{at}]"), array.0)));
        self.line("u64 rest = 0;");
        for (at, value) in values.iter().enumerate() {
            // What has no word of its own is mixed into the last.
            let line = if at < 23 {
                format!("out[{at}] = {value};")
            } else {
                format!("rest = rest * 31 + {value};")
            };
            self.line(&line);
        }
        self.line("out[23] = rest;");
        // Floats in memory: NaNs are told by their bits, which may differ.
        for memory in scope.arrays.iter().filter(|a| (a.name == "g" || a.name == "l") && a.ty.is_float()) {
            let (name, len) = (&memory.name, memory.len);
            self.line(&format!("for (int i = 0; i < {len}; i++) if ({name}[i] != {name}[i]) {name}[i] = 7;"));
        }
    }

    /// The function that the test calls.
    fn entry(&mut self) {
        let number = self.number;
        let _ = writeln!(
            self.text,
            "#ifdef __OPENCL_C_VERSION__
kernel void run{number}(__global const u64 *in, __global u64 *out) {{
  __local u64 lds[64 * SHARED];
  u32 lane = __builtin_amdgcn_workitem_id_x(), g = __builtin_amdgcn_workgroup_id_x() * 64 + lane;
  for (int i = 0; i < SHARED; i++) lds[lane * SHARED + i] = 0;
  p{number}(in + g * INPUTS, out + g * OUTPUTS, lds + lane * SHARED);
  for (int i = 0; i < SHARED; i++) out[g * OUTPUTS + RESULTS + i] = lds[lane * SHARED + i];
}}
#else
void run{number}(const u64 *in, u64 *out, int count) {{
  for (int g = 0; g < count; g++) {{
    u64 lds[SHARED] = {{0}};
    p{number}(in + g * INPUTS, out + g * OUTPUTS, lds);
    for (int i = 0; i < SHARED; i++) out[g * OUTPUTS + RESULTS + i] = lds[i];
  }}
}}
#endif
"
        );
    }

    /// Statements in braces, with a scope of their own.
    fn block(&mut self, scope: &Scope, place: Place) {
        let mut scope = scope.clone();
        self.indent += 1;
        for _ in 0..self.random.usize(1..4) {
            self.statement(&mut scope, Place { depth: place.depth + 1, ..place });
        }
        self.indent -= 1;
    }

    fn statement(&mut self, scope: &mut Scope, place: Place) {
        let nested = place.depth < 3;
        match self.random.u8(..20) {
            0..=2 => {
                let (ty, name) = (self.ty(), self.name("v"));
                let value = self.expression(scope, ty);
                self.line(&format!("{} {name} = {value};", ty.name()));
                scope.scalars.push(Scalar { name, ty, writable: true });
            }
            3..=5 => self.assignment(scope),
            6 | 7 => self.store(scope),
            8 | 9 if nested => {
                let condition = self.condition(scope);
                self.line(&format!("if ({condition}) {{"));
                self.block(scope, place);
                if self.random.bool() {
                    self.line("} else {");
                    self.block(scope, place);
                }
                self.line("}");
            }
            10 | 11 if nested && place.loops < 2 => self.repeat(scope, place),
            12 if nested => self.switch(scope, place),
            13 | 14 => self.vector(scope),
            15 | 16 => self.atomic(scope),
            17 | 18 => {
                if let Some((text, ty)) = call(&mut self.random, scope, 1, true) {
                    let name = self.name("v");
                    self.line(&format!("{} {name} = {text};", ty.name()));
                    scope.scalars.push(Scalar { name, ty, writable: true });
                }
            }
            19 if place.depth > 0 => {
                if let Some(result) = place.result {
                    let (condition, value) = (self.condition(scope), self.expression(scope, result));
                    self.line(&format!("if ({condition}) return {value};"));
                }
            }
            _ => self.assignment(scope),
        }
    }

    fn assignment(&mut self, scope: &Scope) {
        let writable: Vec<Scalar> = scope.scalars.iter().filter(|s| s.writable).cloned().collect();
        if writable.is_empty() {
            return;
        }
        let target = writable[self.random.usize(..writable.len())].clone();
        let value = self.expression(scope, target.ty);
        let operators: &[&str] = if target.ty.is_float() {
            &["=", "+=", "-=", "*="]
        } else {
            &["=", "+=", "-=", "*=", "^=", "|=", "&="]
        };
        let operator = pick(&mut self.random, operators);
        self.line(&format!("{} {operator} {value};", target.name));
    }

    fn store(&mut self, scope: &Scope) {
        let writable: Vec<Array> = scope.arrays.iter().filter(|a| a.writable).cloned().collect();
        if writable.is_empty() {
            return self.assignment(scope);
        }
        let target = writable[self.random.usize(..writable.len())].clone();
        let (at, value) = (index(&mut self.random, scope, target.len), self.expression(scope, target.ty));
        let operator = pick(&mut self.random, &["=", "+=", "-="]);
        self.line(&format!("{}[{at}] {operator} {value};", target.name));
    }

    fn repeat(&mut self, scope: &Scope, place: Place) {
        let name = self.name("k");
        let ty = pick(&mut self.random, &[Type::I32, Type::U32, Type::U8, Type::I64]);
        let bound = if self.random.bool() {
            self.random.u8(1..6).to_string()
        } else {
            format!("({} & 7)", expression(&mut self.random, scope, ty, 1))
        };
        let limit = self.name("n");
        self.line(&format!("{} {limit} = {bound};", ty.name()));
        self.line(&format!("for ({0} {name} = 0; {name} < {limit}; {name}++) {{", ty.name()));
        let mut inner = scope.clone();
        inner.scalars.push(Scalar { name, ty, writable: false });
        if self.random.u8(..3) == 0 {
            let (condition, what) = (self.condition(&inner), pick(&mut self.random, &["break", "continue"]));
            self.line(&format!("  if ({condition}) {what};"));
        }
        self.block(&inner, Place { loops: place.loops + 1, ..place });
        self.line("}");
    }

    fn switch(&mut self, scope: &Scope, place: Place) {
        let ty = pick(&mut self.random, &[Type::I32, Type::U8, Type::U64]);
        let value = self.expression(scope, ty);
        self.line(&format!("switch ({value} & 7) {{"));
        let cases = self.random.usize(2..6);
        for case in 0..cases {
            let label =
                if case + 1 == cases { "default:".to_owned() } else { format!("case {}:", case * 7 / cases) };
            self.line(&format!("{label} {{"));
            self.block(scope, place);
            self.line("}");
            if self.random.u8(..4) != 0 {
                self.line("  break;");
            }
        }
        self.line("}");
    }

    fn vector(&mut self, scope: &Scope) {
        if scope.vectors.is_empty() {
            return self.assignment(scope);
        }
        let (name, vector) = scope.vectors[self.random.usize(..scope.vectors.len())].clone();
        if self.random.u8(..3) == 0 {
            // At a variable index and unoptimized, LLVM 14 writes both halves of a 64-bit element to its low half, and two
            // bytes for one of 8 bits.
            let at = match vector.0.bits() {
                8 | 64 => self.random.usize(..vector.1).to_string(),
                _ => index(&mut self.random, scope, vector.1),
            };
            let value = self.expression(scope, vector.0);
            return self.line(&format!("{name}[{at}] = {value};"));
        }
        let like: Vec<&String> =
            scope.vectors.iter().filter(|(_, v)| *v == vector).map(|(name, _)| name).collect();
        let other = like[self.random.usize(..like.len())];
        let operators: &[&str] =
            if vector.0.is_float() { &["+", "-", "*"] } else { &["+", "-", "*", "&", "|", "^"] };
        let operator = pick(&mut self.random, operators);
        let text = if !vector.0.is_float() && self.random.u8(..4) == 0 {
            let shift = pick(&mut self.random, &["<<", ">>"]);
            format!("{name} = {name} {shift} ({other} & ({})({}));", vector.name(), vector.0.bits() - 1)
        } else {
            let scalar = self.expression(scope, vector.0);
            format!("{name} = ({name} {operator} {other}) + ({})({scalar});", vector.name())
        };
        self.line(&text);
    }

    fn atomic(&mut self, scope: &mut Scope) {
        let arrays: Vec<Array> = scope.arrays.iter().filter(|a| a.atomic).cloned().collect();
        if arrays.is_empty() {
            return self.store(scope);
        }
        let array = arrays[self.random.usize(..arrays.len())].clone();
        let at = index(&mut self.random, scope, array.len);
        let value = self.expression(scope, array.ty);
        let (ty, place) = (array.ty.name(), format!("&{}[{at}]", array.name));
        let name = self.name("v");
        let operations = [
            "fetch_add",
            "fetch_sub",
            "fetch_and",
            "fetch_or",
            "fetch_xor",
            "fetch_min",
            "fetch_max",
            "exchange_n",
        ];
        let operation = pick(&mut self.random, &operations);
        self.line(&format!("{ty} {name} = __atomic_{operation}({place}, {value}, __ATOMIC_RELAXED);"));
        scope.scalars.push(Scalar { name, ty: array.ty, writable: true });
    }
}
