//! Random expressions: every one has a given type, and is defined whatever the values of its variables are.

use super::types::{ALL, Type, Vector};

/// A scalar that an expression may read.
#[derive(Clone, Debug)]
pub struct Scalar {
    /// The expression that names it: a variable, a member.
    pub name: String,
    /// Its type.
    pub ty: Type,
    /// Whether it may be assigned to: a loop's counter may not.
    pub writable: bool,
}

/// An array that an expression may read; its length is a power of two.
#[derive(Clone, Debug)]
pub struct Array {
    /// Its name.
    pub name: String,
    /// Type of its elements.
    pub ty: Type,
    /// Length.
    pub len: usize,
    /// Whether it may be written.
    pub writable: bool,
    /// Whether atomic operations may be done on it: it is in LDS or global memory.
    pub atomic: bool,
}

/// A function that an expression may call.
#[derive(Clone, Debug)]
pub struct Function {
    /// Its name.
    pub name: String,
    /// What it returns.
    pub result: Type,
    /// Its parameters that are numbers.
    pub parameters: Vec<Type>,
    /// Whether it takes, after these, a pointer to the program's structure, and to its first array.
    pub by_pointer: bool,
}

/// What is in scope.
#[derive(Clone, Debug, Default)]
pub struct Scope {
    /// Numbers.
    pub scalars: Vec<Scalar>,
    /// Arrays.
    pub arrays: Vec<Array>,
    /// Vectors.
    pub vectors: Vec<(String, Vector)>,
    /// Functions.
    pub functions: Vec<Function>,
    /// The arguments for functions that take pointers.
    pub pointers: Option<String>,
}

/// One of these.
pub fn pick<T: Copy>(random: &mut fastrand::Rng, from: &[T]) -> T {
    from[random.usize(..from.len())]
}

/// A value of type `from`, as one of type `to`.
fn converted(text: &str, from: Type, to: Type) -> String {
    if from.is_float() && !to.is_float() {
        format!("{}_of_{}({text})", to.name(), from.name())
    } else {
        format!("({})({text})", to.name())
    }
}

/// An expression of the type, at most `depth` operations deep.
pub fn expression(random: &mut fastrand::Rng, scope: &Scope, ty: Type, depth: u32) -> String {
    if depth == 0 {
        return leaf(random, scope, ty);
    }
    let mut inner = |ty| expression(random, scope, ty, depth - 1);
    let name = ty.name();
    let (a, b) = (inner(ty), inner(ty));
    let choice = random.u8(..20);
    match choice {
        0..=1 => return leaf(random, scope, ty),
        2 => {
            let other = pick(random, &ALL);
            return converted(&expression(random, scope, other, depth - 1), other, ty);
        }
        3 => {
            let condition = condition(random, scope, depth - 1);
            return format!("({condition} ? {a} : {b})");
        }
        4 => {
            if let Some(call) = call(random, scope, depth - 1, false) {
                return converted(&call.0, call.1, ty);
            }
        }
        _ => {}
    }
    if ty.is_float() {
        let f = if ty == Type::F32 { "f" } else { "" };
        return match choice {
            4..=7 => format!("({a} + {b})"),
            8..=10 => format!("({a} - {b})"),
            11..=13 => format!("({a} * {b})"),
            14 => format!("({a} / {b})"),
            15 => format!("(-{a})"),
            16 => format!("__builtin_fabs{f}({a})"),
            17 => format!("__builtin_{}{f}({a})", pick(random, &["floor", "ceil", "trunc", "rint"])),
            18 => format!("__builtin_fma{f}({a}, {b}, {})", leaf(random, scope, ty)),
            _ => format!("__builtin_sqrt{f}(__builtin_fabs{f}({a}))"),
        };
    }
    let (bits, wide) = (ty.bits(), ty.bits() == 64);
    let mask = bits - 1;
    let unsigned = if wide { "u64" } else { "u32" };
    let l = if wide { "l" } else { "" };
    match choice {
        4 => format!("({name})({a} + {b})"),
        5 => format!("({name})({a} - {b})"),
        6 => format!("({name})({a} * {b})"),
        7 => format!("({name})({a} & {b})"),
        8 => format!("({name})({a} | {b})"),
        9 => format!("({name})({a} ^ {b})"),
        10 => format!("({name})({a} << ({b} & {mask}))"),
        11 | 12 => format!("({name})({a} >> ({b} & {mask}))"),
        13 => format!("div_{name}({a}, {b})"),
        14 => format!("mod_{name}({a}, {b})"),
        15 => format!("({name})({}{a})", pick(random, &["~", "-", "!"])),
        16 => match random.u8(..4) {
            0 => format!("({name})__builtin_popcount{l}(({unsigned}){a})"),
            1 => format!("({name})__builtin_clz{l}(({unsigned}){a} | 1)"),
            2 => format!("({name})__builtin_ctz{l}(({unsigned}){a} | ({unsigned})1 << {})", mask.min(31)),
            _ => format!("({name})__builtin_bswap{}(({unsigned}){a})", if wide { 64 } else { 32 }),
        },
        17 => {
            let order = pick(random, &["<", ">"]);
            format!("({a} {order} {b} ? {a} : {b})")
        }
        18 => format!("({name})(((i64)(i32){a} * (i64)(i32){b}) >> {})", random.u8(..40)),
        _ => format!("({name})__builtin_rotateleft{bits}({a}, {b})"),
    }
}

/// A condition.
pub fn condition(random: &mut fastrand::Rng, scope: &Scope, depth: u32) -> String {
    if depth > 0 && random.u8(..4) == 0 {
        let (a, b) = (condition(random, scope, depth - 1), condition(random, scope, depth - 1));
        return format!("({a} {} {b})", pick(random, &["&&", "||"]));
    }
    let ty = pick(random, &ALL);
    let (a, b) = (
        expression(random, scope, ty, depth.saturating_sub(1)),
        expression(random, scope, ty, depth.saturating_sub(1)),
    );
    format!("({a} {} {b})", pick(random, &["<", "<=", ">", ">=", "==", "!="]))
}

/// A call of a function in scope and the type of its result. A function that writes through pointers is called by a
/// statement of its own only, or the order of evaluation would matter.
pub fn call(
    random: &mut fastrand::Rng,
    scope: &Scope,
    depth: u32,
    by_pointer: bool,
) -> Option<(String, Type)> {
    let callable: Vec<&Function> = scope.functions.iter().filter(|f| f.by_pointer == by_pointer).collect();
    if callable.is_empty() {
        return None;
    }
    let function = callable[random.usize(..callable.len())];
    let mut arguments: Vec<String> =
        function.parameters.iter().map(|ty| expression(random, scope, *ty, depth.min(1))).collect();
    if function.by_pointer {
        arguments.extend(scope.pointers.clone());
    }
    Some((format!("{}({})", function.name, arguments.join(", ")), function.result))
}

/// An index that is within an array.
pub fn index(random: &mut fastrand::Rng, scope: &Scope, len: usize) -> String {
    if random.u8(..3) == 0 {
        return random.usize(..len).to_string();
    }
    let integers: Vec<&Scalar> = scope.scalars.iter().filter(|s| !s.ty.is_float()).collect();
    if integers.is_empty() {
        return "0".to_owned();
    }
    let scalar = integers[random.usize(..integers.len())];
    format!("({} + {}) & {}", scalar.name, random.usize(..len), len - 1)
}

fn leaf(random: &mut fastrand::Rng, scope: &Scope, ty: Type) -> String {
    let choice = random.u8(..12);
    if choice == 0 && !scope.vectors.is_empty() {
        let (name, vector) = scope.vectors[random.usize(..scope.vectors.len())].clone();
        let element = format!("{name}[{}]", random.usize(..vector.1));
        return converted(&element, vector.0, ty);
    }
    if (1..=3).contains(&choice) && !scope.arrays.is_empty() {
        let array = scope.arrays[random.usize(..scope.arrays.len())].clone();
        let element = format!("{}[{}]", array.name, index(random, scope, array.len));
        return converted(&element, array.ty, ty);
    }
    // A variable of the same type if there is one, or any.
    let same: Vec<&Scalar> = scope.scalars.iter().filter(|s| s.ty == ty).collect();
    if (4..=8).contains(&choice) && !same.is_empty() {
        return same[random.usize(..same.len())].name.clone();
    }
    if choice <= 10 && !scope.scalars.is_empty() {
        let scalar = &scope.scalars[random.usize(..scope.scalars.len())];
        return converted(&scalar.name, scalar.ty, ty);
    }
    ty.constant(random)
}
